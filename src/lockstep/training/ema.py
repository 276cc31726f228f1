"""Moving averages of the weights: how much of the old average stays at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from lockstep.config.schema import Train
from lockstep.config.weights import averages_of
from lockstep.models.post_hoc import exponent_of

Profile = Callable[[int], float]


def profiles(settings: Train) -> dict[str, Profile]:
    """Each average's name (`Train.averages`) with its decay as a function of the step, from 0."""
    each: list[Profile] = []
    if settings.ema_decay is not None:
        each.append(partial(constant, decay=settings.ema_decay))
    each += [partial(power, exponent=exponent_of(s)) for s in settings.ema_sigma_rel]
    return dict(zip(averages_of(settings.ema_decay, settings.ema_sigma_rel), each, strict=True))


def constant(step: int, *, decay: float) -> float:
    """min(decay, (1 + n) / (10 + n)) with n = step.

    The ramp lets the average forget the random start; the formula is the one of TensorFlow's
    `ExponentialMovingAverage(num_updates=n)`.
    """
    return min(decay, (1 + step) / (10 + step))


def power(step: int, *, exponent: float) -> float:
    """(1 - 1 / t)^(exponent + 1) with t = step + 1: the weights of step t count as t^exponent.

    Karras et al. 2024 (arXiv 2312.02696), section 3.1. After the first step it is the weights.
    """
    return (1 - 1 / (step + 1)) ** (exponent + 1)


@torch.no_grad()
def update(average: Iterable[Tensor], weights: Iterable[Tensor], decay: float) -> None:
    """average <- decay * average + (1 - decay) * weights, in place."""
    torch._foreach_lerp_(list(average), list(weights), 1 - decay)
