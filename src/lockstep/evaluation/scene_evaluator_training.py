"""Training the evaluator of scenes, and measuring it on scenes it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.schema import Evaluator
from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.data.annotations import Arrays
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.fit import fit
from lockstep.evaluation.rows import Rows
from lockstep.evaluation.scene_evaluator import SceneEvaluator, detect, parts

# Scale of the distribution of an object's place about where it is said to be, in sides of the
# image: it says how much being a tenth of a side off counts.
_PLACE_SCALE = 0.1
# Which objects there are comes first: weighted as the likelihood asks, shapes are learnt last.
_REST = 0.3


@dataclass(frozen=True)
class Scenes:
    """(N, H, W, 3) bytes, and what they show; `place` and `large` count where `present` is 1.

    An array of positions gives some of the images, as of `SplitImages`.
    """

    images: Rows
    shown: Arrays


def train(
    scenes: Scenes,
    settings: Evaluator,
    precision: hardware.Precision,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> SceneEvaluator:
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
        seen, places = np.array(scenes.images[number]), scenes.shown.place[number]
        turned = mirrored.astype(bool)
        seen[turned] = seen[turned, :, ::-1]
        places[turned, :, 0] = 1 - places[turned, :, 0]
        images, place = to_tensor(seen).to(device), torch.from_numpy(places).to(device)
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

    return fit(build, loss, len(scenes.images), settings, precision, progress, views=2)


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
