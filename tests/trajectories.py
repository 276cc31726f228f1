"""Samplers beside diffusers' schedulers: a network, the ways it is sampled, and what x becomes.

diffusers computes its tables in float32. To compare more than seven digits, its scheduler modules
are given a torch and a numpy whose float32 is float64: their code, twice the digits. What is left
between the two is rounding (2e-16) times the largest factor on the way, 1 / sqrt(alphas_bar) = 2e4
at the cosine's last level: 5e-13 at most, relative, but 3e-10 for DDPM, whose last variance
diffusers keeps at 1e-20 instead of 0. `CLOSE` grants a little more.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
KINDS = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
WAYS = [
    (1000, 7, "trailing"),
    (1000, 30, "leading"),
    (1000, 33, "linspace"),
    (500, 7, "linspace"),
    (500, 33, "trailing"),
    (100, 30, "trailing"),
    (100, 7, "leading"),
]
SHAPE = (2, 3, 4, 4)
TRAJECTORY = list[Tensor]


class InDouble:
    """A module whose float32 is its float64."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.float32 = module, module.float64

    def __getattr__(self, name: str) -> object:
        return getattr(self.module, name)


def in_double(patch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Have schedulers' modules compute in float64."""
    for module in modules:
        for name in ("torch", "np"):
            patch.setattr(module, name, InDouble(getattr(module, name)))


def network(x: Tensor, t: Tensor) -> Tensor:
    """A fixed smooth function that no closed form of a step could undo by luck."""
    level = t.to(x.dtype).reshape(-1, 1, 1, 1) / 1000
    return 0.7 * torch.sin(2 * x + 3 * level) + 0.4 * x.roll(1, -1) * torch.cos(level)


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def noise(dtype: torch.dtype = torch.float64) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(2)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=dtype)


def ours(sampler: Callable, *arguments: object, **options: object) -> TRAJECTORY:
    """x at each level visited, and the image at the end."""
    xs: TRAJECTORY = []
    end = sampler(*arguments, callback=lambda step: xs.append(step.x), **options)
    return [*xs, end]


def check(found: TRAJECTORY, expected: TRAJECTORY, close: dict[str, float] = CLOSE) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert bool(one.isfinite().all())
        torch.testing.assert_close(one, other, **close)


def their_output(x: Tensor, t: int) -> Tensor:
    return network(x, torch.full((len(x),), t))


def in_sigmas(scheduler: Any, levels: list[int], x: Tensor) -> TRAJECTORY:
    """diffusers' x at each level of the list, and the image at the end, by Euler's steps or Heun's.

    It keeps x in units in which images are not scaled down; here is what the network sees of it.
    Two evaluations of Heun make a step; x between them is an attempt that nobody sees.
    """
    scheduler.set_timesteps(timesteps=levels)
    x = x * (scheduler.sigmas[0] ** 2 + 1) ** 0.5
    xs = []
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t)
        if getattr(scheduler, "state_in_first_order", True):
            xs.append(seen)
        output = network(seen, torch.full((len(x),), int(t)))
        x = scheduler.step(output, t, x).prev_sample
    return [*xs, x]
