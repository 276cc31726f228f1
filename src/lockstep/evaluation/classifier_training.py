"""Training classifiers as evaluators, and measuring them on images they have not seen.

They learn the labels of a data set or, where nothing is said of the images, which way up those
are: to tell the four rotations of an image from each other, a network has to know what it shows
(Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations",
arXiv:1803.07728).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.schema import Evaluator, Params
from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.core.processes import progress
from lockstep.data.dataset import Dataset
from lockstep.evaluation import classifier
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.classifier import Classifier, scores
from lockstep.evaluation.fit import fit

ROTATIONS = 4
_AT_ONCE = 1024


@dataclass(frozen=True)
class Examples:
    """Images, some of 0 .. N-1 -> (B, H, W, 3) bytes, and their `labels` (N, L), zeros and ones.

    `views` of the N show one and the same image, in different ways.
    """

    labels: NDArray[np.integer]
    images: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    views: int = 1


def of_split(data: Dataset, split: str) -> Examples:
    """The images of a split with their conditions."""
    positions = data.indices(split)
    return Examples(data.conditions[positions], lambda chosen: data.images[positions[chosen]])


def rotated(data: Dataset, split: str) -> Examples:
    """Each image of a split four times: as it is, and turned by one, two and three quarters.

    Example `4 i + k` is image i turned by k quarters counter-clockwise; its label is k, one-hot.
    """
    positions = data.indices(split)
    labels = np.tile(np.eye(ROTATIONS, dtype=np.uint8), (len(positions), 1))

    def images(chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        upright = data.images[positions[chosen // ROTATIONS]]
        quarters = chosen % ROTATIONS
        turned = (np.rot90(image, k) for image, k in zip(upright, quarters, strict=True))
        return np.stack(list(turned))

    return Examples(labels, images, views=ROTATIONS)


def train(
    examples: Examples,
    settings: Evaluator,
    precision: hardware.Precision,
    bar: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Classifier:
    """An evaluator from images that no generator sees.

    A binary cross-entropy for each label. Raises `LockstepError` if there are fewer images than a
    batch has.
    """
    count, labels = examples.labels.shape
    device = hardware.device()

    def build() -> Classifier:
        model = Classifier(labels)
        # Start from each label's frequency, not from one half: the first steps need not learn it.
        frequency = torch.from_numpy(examples.labels).double().mean(0).clamp(1e-3, 1 - 1e-3)
        with torch.no_grad():
            model.resnet.fc[0].bias.copy_(torch.logit(frequency))
        return model

    def loss(model: Classifier, chosen: NDArray[np.int64]) -> Tensor:
        images = to_tensor(examples.images(chosen)).to(device)
        target = torch.from_numpy(examples.labels[chosen]).float().to(device)
        # Through logits: a sigmoid in bf16 is exactly 1 far too early.
        return F.binary_cross_entropy_with_logits(model.logits(images).float(), target)

    images = count // examples.views
    return fit(build, loss, images, settings, precision, bar, examples.views)


def accuracy(model: Classifier, examples: Examples) -> float | None:
    """Micro top-k accuracy on examples it has not seen; None if there are none."""
    count = len(examples.labels)
    if count == 0:
        return None
    batches = np.array_split(np.arange(count), -(-count // _AT_ONCE))
    found = [scores(model, to_tensor(examples.images(chosen))) for chosen in batches]
    return top_k_accuracy(torch.cat(found), torch.from_numpy(examples.labels))


def trained(params: Params, examples: Examples) -> Classifier:
    """A classifier as `params.evaluator` says. Raises `LockstepError` if there are too few."""
    precision = hardware.resolve_precision(params.evaluator.precision, "evaluator.precision")
    bar = progress(f"evaluator {params.workload}", "step")
    return train(examples, params.evaluator, precision, bar)


def measured(name: str, model: Classifier, held_out: Examples, out: Path) -> dict[str, float]:
    """Write an evaluator; gives its accuracy, called `name`, where images are held out."""
    classifier.save(model, out)
    found = accuracy(model, held_out)
    return {} if found is None else {name: found}


def of_rotations(params: Params, data: Dataset, out: Path) -> dict[str, float]:
    """Train a classifier that tells which way up an image is, and write it.

    Gives its accuracy. Raises `LockstepError` if there are too few images.
    """
    model = trained(params, rotated(data, "evaluator_train"))
    held_out = rotated(data, "evaluator_validation")
    return measured("rotation_accuracy", model, held_out, out)
