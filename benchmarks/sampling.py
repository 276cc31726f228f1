"""Sampling: DDIM, ours against the library's network with the library's scheduler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from benchmarks import turns
from benchmarks.models import SHAPES, SIZE, Contestant, contestants
from lockstep.core import device as hardware
from lockstep.diffusion import Denoiser, NoiseSchedule, ddim, timesteps

IMAGES, STEPS = 16, 3


def measure(shape: str, precision: hardware.Precision, rounds: int) -> dict[str, float]:
    """Median seconds for a step of one image, for each side.

    Raises
    ------
    AssertionError
        If in fp32 the sides do not draw the same images.
    """
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(IMAGES, 3, SIZE, SIZE, generator=random).to(hardware.device())
    condition = torch.randn(IMAGES, SHAPES[shape].embedding_dim, generator=random)
    condition = condition.to(hardware.device())
    drawers: dict[str, Callable[[], Tensor]] = {}
    for side, contestant in contestants(shape).items():
        contestant.model.eval()
        draw = _ours if side == "lockstep" else _theirs
        x = noise.to(memory_format=contestant.memory_format)
        drawers[side] = partial(draw, contestant, x, condition, precision)
    if precision == "fp32":
        ours, *others = (draw() for draw in drawers.values())
        for other in others:
            torch.testing.assert_close(ours, other, atol=2e-3, rtol=0)
    taken = turns.seconds(drawers, rounds=rounds, warm_up=1)
    return {side: value / (IMAGES * STEPS) for side, value in taken.items()}


def _ours(
    contestant: Contestant, x: Tensor, condition: Tensor, precision: hardware.Precision
) -> Tensor:
    def network(x: Tensor, t: Tensor) -> Tensor:
        with hardware.autocast(precision):
            return contestant.model(x, t, condition)

    schedule = NoiseSchedule("squaredcos_cap_v2", 1000)
    denoise = Denoiser(network, schedule, "epsilon")
    levels = timesteps(1000, STEPS, "leading")
    return ddim(denoise, x, schedule, levels, clip=1.0, rederive_epsilon=False)


@torch.no_grad()
def _theirs(
    contestant: Contestant, x: Tensor, condition: Tensor, precision: hardware.Precision
) -> Tensor:
    scheduler: Any = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    scheduler.set_timesteps(STEPS)
    for t in scheduler.timesteps:
        with hardware.autocast(precision):
            levels = t.to(x.device).expand(len(x))
            output = contestant.model(x, levels, condition)
        x = scheduler.step(output.to(x.dtype), t, x).prev_sample
    return x
