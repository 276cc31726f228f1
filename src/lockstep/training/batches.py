"""What a step computes with: pictures, noise, levels and conditions, all from (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep import device as hardware
from lockstep.dataset import Dataset
from lockstep.params import Params
from lockstep.pixels import to_tensor

# Streams of random numbers that must never meet: (seed, stream, index) seeds a generator.
INIT, _ORDER, _STEP, _VALIDATION, DROPOUT = range(5)
_VALIDATION_PICTURES = 256
_VALIDATION_BATCH = 64


@dataclass(frozen=True)
class Batch:
    """x0 and noise (B, 3, H, W), x0 in [-1, 1]; t (B,) in [0, T); condition (B, L) multi-hot."""

    x0: Tensor
    noise: Tensor
    t: Tensor
    condition: Tensor


def random_numbers(seed: int, stream: int, index: int) -> np.random.Generator:
    """The random numbers of (seed, stream, index), independent of all others.

    numpy's, since torch's CPU generator reads only 32 bits of its seed: among some 80,000 steps
    two would meet.
    """
    return np.random.default_rng([seed, stream, index])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return random_numbers(seed, _ORDER, epoch).permutation(count)


def batch_positions(seed: int, step: int, batch_size: int, count: int) -> NDArray[np.int64]:
    """Which of `count` pictures make up the batch of a step.

    The batches cut an endless row of shuffled epochs into pieces: each epoch has every picture
    once, and a batch may reach over the end of one into the next.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return np.array([_epoch_order(seed, place // count, count)[place % count] for place in places])


def training_batch(data: Dataset, params: Params, step: int) -> Batch:
    """The batch of a step, a share of its conditions dropped (`train.condition_dropout`)."""
    settings, positions = params.train, data.indices("train")
    chosen = batch_positions(settings.seed, step, settings.batch_size, len(positions))
    random = random_numbers(settings.seed, _STEP, step)
    t = random.integers(params.diffusion.timesteps, size=len(chosen))
    batch = _batch(data, positions[chosen], t, random)
    # Ho & Salimans 2022, algorithm 1: dropped per picture, not per batch.
    kept = torch.from_numpy(random.random((len(chosen), 1)) >= settings.condition_dropout)
    return Batch(batch.x0, batch.noise, batch.t, batch.condition * kept.to(batch.condition))


def validation_batches(data: Dataset, params: Params) -> Iterator[Batch]:
    """At most 256 held-out pictures, always the same ones with the same noise and levels.

    The levels are spread evenly, so that the loss varies with the model and not with the draw.
    """
    positions = data.indices("validation")[:_VALIDATION_PICTURES]
    random = random_numbers(params.train.seed, _VALIDATION, 0)
    spread = np.linspace(0, params.diffusion.timesteps - 1, len(positions)).round()
    levels = random.permutation(spread.astype(np.int64))
    for start in range(0, len(positions), _VALIDATION_BATCH):
        part = slice(start, start + _VALIDATION_BATCH)
        yield _batch(data, positions[part], levels[part], random)


def _batch(
    data: Dataset, positions: NDArray[np.int64], t: NDArray[np.int64], random: np.random.Generator
) -> Batch:
    device = hardware.device()
    x0 = to_tensor(data.pictures[positions])
    noise = torch.from_numpy(random.standard_normal(x0.shape, np.float32))
    return Batch(
        x0.to(device),
        noise.to(device, memory_format=torch.channels_last),
        torch.from_numpy(t).to(device),
        torch.from_numpy(data.conditions[positions]).float().to(device),
    )
