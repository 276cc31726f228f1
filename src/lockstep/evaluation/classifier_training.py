"""Training the evaluator, and measuring it on scenes it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep import device as hardware
from lockstep.dataset import Dataset
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.classifier import Classifier, scores
from lockstep.evaluation.judge_training import fit
from lockstep.params import Judge
from lockstep.pixels import to_tensor


def train(
    data: Dataset,
    settings: Judge,
    precision: hardware.Precision,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Classifier:
    """An evaluator from the data set's `judge_train` pictures, which no generator sees.

    A binary cross-entropy for each label.

    Raises
    ------
    LockstepError
        If there are fewer pictures than a batch has.
    """
    positions = data.indices("judge_train")
    device = hardware.device()

    def build() -> Classifier:
        model = Classifier(data.conditions.shape[1])
        # Start from each label's frequency, not from one half: the first steps need not learn it.
        frequency = torch.from_numpy(data.conditions[positions]).double().mean(0)
        with torch.no_grad():
            model.resnet.fc[0].bias.copy_(torch.logit(frequency.clamp(1e-3, 1 - 1e-3)))
        return model

    def loss(model: Classifier, chosen: NDArray[np.int64]) -> Tensor:
        pictures = to_tensor(data.pictures[positions[chosen]]).to(device)
        target = torch.from_numpy(data.conditions[positions[chosen]]).float().to(device)
        # Through logits: a sigmoid in bf16 is exactly 1 far too early.
        return F.binary_cross_entropy_with_logits(model.logits(pictures).float(), target)

    return fit(build, loss, len(positions), settings, precision, progress)


def held_out_accuracy(model: Classifier, data: Dataset) -> float | None:
    """Micro top-k accuracy on the `judge_validation` pictures; None if there are none."""
    positions = data.indices("judge_validation")
    if len(positions) == 0:
        return None
    found = scores(model, to_tensor(data.pictures[positions]))
    return top_k_accuracy(found, torch.from_numpy(data.conditions[positions]))
