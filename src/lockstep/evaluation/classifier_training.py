"""Training an evaluator, and measuring it on images it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.schema import Evaluator
from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.classifier import Classifier, scores
from lockstep.evaluation.examples import Examples
from lockstep.evaluation.fit import fit

_AT_ONCE = 1024


def train(
    examples: Examples,
    settings: Evaluator,
    precision: hardware.Precision,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Classifier:
    """An evaluator from images that no generator sees.

    A binary cross-entropy for each label.

    Raises
    ------
    LockstepError
        If there are fewer images than a batch has.
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
    return fit(build, loss, images, settings, precision, progress, examples.views)


def accuracy(model: Classifier, examples: Examples) -> float | None:
    """Micro top-k accuracy on examples it has not seen; None if there are none."""
    count = len(examples.labels)
    if count == 0:
        return None
    batches = np.array_split(np.arange(count), -(-count // _AT_ONCE))
    found = [scores(model, to_tensor(examples.images(chosen))) for chosen in batches]
    return top_k_accuracy(torch.cat(found), torch.from_numpy(examples.labels))
