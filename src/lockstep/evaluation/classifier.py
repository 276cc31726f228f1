"""Classifiers as evaluators: a ResNet-18 that says what an image shows.

For the labels of i-CLEVR its form is the official one (torchvision's ResNet-18, `fc` = Linear(512,
labels) and a sigmoid; input (B, 3, 64, 64) in [-1, 1]), so that the official weights load.

It also learns the classes of other data sets or, where nothing is said of the images, which way up
those are: to tell the four rotations of an image from each other, a network has to know what it
shows (Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations",
arXiv:1803.07728).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import resnet18

from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.errors import LockstepError
from lockstep.core.pixels import to_tensor
from lockstep.core.weights import load_weights, save_weights
from lockstep.data.dataset import Dataset
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.fit import fit

ROTATIONS = 4
_AT_ONCE = 1024


class Classifier(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, labels) scores in [0, 1]."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.resnet = resnet18(weights=None)
        self.resnet.fc = nn.Sequential(nn.Linear(512, labels), nn.Sigmoid())

    def features(self, images: Tensor) -> Tensor:
        """(B, 512): what the last layer sees."""
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return net.avgpool(x).flatten(1)

    def logits(self, images: Tensor) -> Tensor:
        """(B, labels): the scores before the sigmoid."""
        return self.resnet.fc[0](self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(images))


def official(checkpoint: Path, labels: int) -> Classifier:
    """The evaluator from the official `checkpoint.pth`, {"model": state_dict}.

    It is read with `weights_only=True`: no code in the file is run. Raises `LockstepError` if the
    file is missing, is no such checkpoint, or its weights have other shapes.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LockstepError(f"{checkpoint}: no such file; evaluator.checkpoint names it") from None
    except Exception as error:  # Damage makes it stumble over anything.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LockstepError(f"{checkpoint}: not a checkpoint of weights: {reason}") from None
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise LockstepError(f'{checkpoint}: has no "model"; the official file is that')
    model = Classifier(labels)
    try:
        model.resnet.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:  # a name that is no text
        reason = " ".join(str(error).split())[:200]
        raise LockstepError(f"{checkpoint}: not this evaluator's weights: {reason}") from None
    return model.eval()


def save(model: Classifier, folder: Path) -> None:
    """Write `classifier.safetensors` into an existing folder."""
    save_weights(model.state_dict(), folder / "classifier.safetensors")


def load(folder: Path, labels: int) -> Classifier:
    """What `save` wrote, in evaluation mode. Raises `LockstepError` if it is damaged."""
    model = Classifier(labels)
    load_weights(model, folder / "classifier.safetensors")
    return hardware.place(model).eval()


@torch.inference_mode()
def scores(model: nn.Module, images: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, ...) scores in [0, 1], in fp32, in batches of 256.

    Several processes share the images, and each gets all scores.
    """
    device = next(model.parameters()).device
    own = images[distributed.share(len(images))]
    each = [model(batch.to(device)).float().cpu() for batch in own.split(256)]
    return distributed.gather(torch.cat(each), len(images))


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


def train(params: Params, examples: Examples) -> Classifier:
    """A classifier as `params.evaluator` says, from images that no generator sees.

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

    return fit(build, loss, count // examples.views, params, examples.views)


def accuracy(model: Classifier, examples: Examples) -> float | None:
    """Micro top-k accuracy on examples it has not seen; None if there are none."""
    count = len(examples.labels)
    if count == 0:
        return None
    batches = np.array_split(np.arange(count), -(-count // _AT_ONCE))
    found = [scores(model, to_tensor(examples.images(chosen))) for chosen in batches]
    return top_k_accuracy(torch.cat(found), torch.from_numpy(examples.labels))


def measured(name: str, model: Classifier, held_out: Examples, out: Path) -> dict[str, float]:
    """Write an evaluator; gives its accuracy, called `name`, where images are held out."""
    save(model, out)
    found = accuracy(model, held_out)
    return {} if found is None else {name: found}


def of_rotations(params: Params, data: Dataset, out: Path) -> dict[str, float]:
    """Train a classifier that tells which way up an image is, and write it.

    Gives its accuracy. Raises `LockstepError` if there are too few images.
    """
    model = train(params, rotated(data, "evaluator_train"))
    held_out = rotated(data, "evaluator_validation")
    return measured("rotation_accuracy", model, held_out, out)
