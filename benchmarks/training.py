"""The training step: loss, gradient, clipping, AdamW, and the average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks import turns
from benchmarks.models import SHAPES, SIZE, Contestant, contestants
from lockstep.core import device as hardware
from lockstep.diffusion import NoiseSchedule, diffusion_loss

BATCH = 16
_SCHEDULE = NoiseSchedule("squaredcos_cap_v2", 1000)

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def measure(shape: str, precision: hardware.Precision, rounds: int) -> dict[str, float]:
    """Median seconds of a step for each side."""
    steps = {
        side: trainer(contestant, precision) for side, contestant in contestants(shape).items()
    }
    batch = a_batch(shape)
    tasks: dict[str, Callable[[], object]] = {s: partial(step, batch) for s, step in steps.items()}
    return turns.seconds(tasks, rounds=rounds, warm_up=1 if shape == "lab6" else 3)


def a_batch(shape: str, seed: int = 0) -> Batch:
    """x0, noise, t and condition of a batch of random images."""
    device, random = hardware.device(), torch.Generator().manual_seed(seed)
    x0, noise = (torch.randn(BATCH, 3, SIZE, SIZE, generator=random) for _ in range(2))
    t = torch.randint(1000, (BATCH,), generator=random)
    condition = torch.randn(BATCH, SHAPES[shape].embedding_dim, generator=random)
    return x0.clamp(-1, 1).to(device), noise.to(device), t.to(device), condition.to(device)


def loss_of(contestant: Contestant, batch: Batch, precision: hardware.Precision) -> Tensor:
    """The mean loss of a batch, the same for all sides: of epsilon, in mixed precision."""
    x0, noise, t, condition = batch
    x0, noise = (x.to(memory_format=contestant.memory_format) for x in (x0, noise))
    with hardware.autocast(precision):
        return diffusion_loss(
            lambda x, t: contestant.model(x, t, condition), _SCHEDULE, x0, noise, t, "epsilon"
        ).mean()


def trainer(contestant: Contestant, precision: hardware.Precision) -> Callable[[Batch], float]:
    """A function that makes a step with a batch and gives its loss."""
    optimizer = contestant.optimizer()
    weights: list[Tensor] = list(contestant.model.parameters())
    average: list[Tensor] = list(copy.deepcopy(contestant.model).parameters())

    def step(batch: Batch) -> float:
        loss = loss_of(contestant, batch, precision)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 0.001)
        return loss.item()

    return step
