"""The evaluator of images with a sentence: which objects an image shows, where, and how large.

An object is one of i-CLEVR's 24, by its `lockstep.data.clevr.object_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import resnet18

from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.core.provenance import read_provenance
from lockstep.core.weights import load_weights, save_weights
from lockstep.data.annotations import Arrays
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.evaluation import classifier
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.fit import fit
from lockstep.evaluation.rows import Rows

OBJECTS = len(SHAPES) * len(COLOURS)
_SAYS = 4  # of each object: present, x, y, large
# What an evaluator of captions has learnt, in its provenance: scenes, or else rotations.
SCENES, ROTATIONS = "scenes", "rotations"
# Scale of the distribution of an object's place about where it is said to be, in sides of the
# image: it says how much being a tenth of a side off counts.
_PLACE_SCALE = 0.1
# Which objects there are comes first: weighted as the likelihood asks, shapes are learnt last.
_REST = 0.3


class Detections(NamedTuple):
    """What is said of each object in N images; place and size mean something if it is there.

    `present` (N, 24) and `large` (N, 24) are scores in [0, 1]; `place` (N, 24, 2) is the object's
    centre in [0, 1], from the left and from the top, in sides of the image.
    """

    present: Tensor
    place: Tensor
    large: Tensor


class SceneEvaluator(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, 24, 4) in [0, 1]: the parts of `Detections` in one tensor.

    torchvision's ResNet-18 with one linear layer on its features, and a sigmoid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet18(weights=None)
        self.trunk.fc = nn.Identity()
        self.head = nn.Linear(512, OBJECTS * _SAYS)

    def features(self, images: Tensor) -> Tensor:
        """(B, 512): what the last layer sees."""
        return self.trunk(images)

    def logits(self, images: Tensor) -> Tensor:
        """(B, 24, 4): what is said, before the sigmoid."""
        return self.head(self.features(images)).unflatten(1, (OBJECTS, _SAYS))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(images))


def parts(said: Tensor) -> Detections:
    """(N, 24, 4) as a `SceneEvaluator` says it, with a name for each part; logits stay logits."""
    return Detections(said[..., 0], said[..., 1:3], said[..., 3])


def detect(model: SceneEvaluator, images: Rows) -> Detections:
    """What the evaluator says of (N, H, W, 3) bytes, which are read 256 at a time.

    Several processes share the images, and each gets all that is said.
    """
    batches = (images[start : start + 256] for start in range(0, len(images), 256))
    said = [classifier.scores(model, to_tensor(batch)) for batch in batches]
    return parts(torch.cat(said))


def save(model: SceneEvaluator, folder: Path) -> None:
    """Write `scene_evaluator.safetensors` into an existing folder."""
    save_weights(model.state_dict(), folder / "scene_evaluator.safetensors")


def is_in(folder: Path) -> bool:
    """Whether the evaluator in `folder` is of scenes. Raises `LockstepError` if none is there."""
    return bool(read_provenance(folder).inputs.get("learnt") == SCENES)


def load(folder: Path) -> SceneEvaluator:
    """What `save` wrote, in evaluation mode. Raises `LockstepError` if it is damaged."""
    model = SceneEvaluator()
    load_weights(model, folder / "scene_evaluator.safetensors")
    return hardware.place(model).eval()


@dataclass(frozen=True)
class Scenes:
    """(N, H, W, 3) bytes, and what they show; `place` and `large` count where `present` is 1.

    An array of positions gives some of the images, as of `SplitImages`.
    """

    images: Rows
    shown: Arrays


def train(params: Params, scenes: Scenes) -> SceneEvaluator:
    """An evaluator from scenes that no generator sees, and from their mirror images.

    The loss is the negative log-likelihood of what an image shows: each object is there or not, and
    those that are there are large or not (Bernoulli), and stand where they do (Laplace, so that the
    distance counts and not its square). Raises `LockstepError` if there are fewer images than a
    batch has.
    """
    device = hardware.device()

    def build() -> SceneEvaluator:
        model = SceneEvaluator()
        # Start from each object's frequency, not from one half: the first steps need not learn it.
        frequency = torch.from_numpy(scenes.shown.present).double().mean(0).clamp(1e-3, 1 - 1e-3)
        with torch.no_grad():
            parts(model.head.bias.view(len(frequency), -1)).present.copy_(torch.logit(frequency))
        return model

    def loss(model: SceneEvaluator, chosen: NDArray[np.int64]) -> Tensor:
        # Number 2 i is image i, 2 i + 1 its mirror image.
        number, mirrored = np.divmod(chosen, 2)
        pixels, places = np.array(scenes.images[number]), scenes.shown.place[number]
        turned = mirrored.astype(bool)
        pixels[turned] = pixels[turned, :, ::-1]
        places[turned, :, 0] = 1 - places[turned, :, 0]
        images, place = to_tensor(pixels).to(device), torch.from_numpy(places).to(device)
        present, large = (
            torch.from_numpy(part[number]).float().to(device)
            for part in (scenes.shown.present, scenes.shown.large)
        )
        # Through logits: a sigmoid in bf16 is exactly 1 far too early.
        said = parts(model.logits(images).float())
        there = F.binary_cross_entropy_with_logits(said.present, present, reduction="none")
        size = F.binary_cross_entropy_with_logits(said.large, large, reduction="none")
        off = (torch.sigmoid(said.place) - place).abs().sum(2) / _PLACE_SCALE
        return (there + _REST * present * (size + off)).sum() / len(chosen)

    return fit(build, loss, len(scenes.images), params, views=2)


def held_out(model: SceneEvaluator, scenes: Scenes) -> dict[str, float]:
    """How well the evaluator sees scenes that it has not learnt from; nothing if there are none.

    `evaluator_accuracy` is the micro top-k accuracy of the objects. Of the objects that are there,
    `evaluator_place_error` is the mean distance from where they are, in sides of the image, and
    `evaluator_size_accuracy` the share whose size is right.
    """
    if len(scenes.images) == 0:
        return {}
    detected = detect(model, scenes.images)
    present, place, large = map(torch.from_numpy, scenes.shown)
    there = present.bool()
    off = torch.linalg.vector_norm(detected.place - place, dim=2)[there]
    right = ((detected.large > 0.5) == large.bool())[there]
    return {
        "evaluator_accuracy": top_k_accuracy(detected.present, present),
        "evaluator_place_error": off.double().mean().item(),
        "evaluator_size_accuracy": right.double().mean().item(),
    }
