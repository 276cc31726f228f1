"""Exponential moving average of the weights."""

import torch
from torch import Tensor


def decay_at(step: int, decay: float) -> float:
    """The decay in force at `step` (from 0): min(decay, (1 + n) / (10 + n)) with n = step.

    The ramp lets the average forget the random start; the formula is the one of TensorFlow's
    `ExponentialMovingAverage(num_updates=n)`.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update(average: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """average <- decay * average + (1 - decay) * weights, in place."""
    torch._foreach_lerp_(average, weights, 1 - decay)
