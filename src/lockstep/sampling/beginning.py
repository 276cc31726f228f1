"""What sampling begins from, where that is not each image's own noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lockstep.config.schema import Sample
from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError
from lockstep.diffusion import ImageNoise, InterpolatedNoise, Noise, NoiseSchedule, timesteps
from lockstep.models.autoencoder import Autoencoder

NoiseOf = Callable[[Sequence[int]], Noise]
"""The noise of the images of these numbers, batch by batch."""


@dataclass(frozen=True)
class Edit:
    """An image that keeps what survives its noise: SDEdit, Meng et al. 2022 (arXiv 2108.01073).

    Parameters
    ----------
    image
        (3, size, size) in [-1, 1].
    strength
        The share of the noise levels that it is put through, above 0 and up to 1.
    """

    image: Tensor
    strength: float

    def levels(self, schedule: NoiseSchedule, settings: Sample) -> list[int]:
        """The levels that are still to go. Raises `LockstepError` if the steps have none so low."""
        T, steps = schedule.timesteps, settings.steps
        start = max(1, round(self.strength * T)) - 1
        lowest = timesteps(T, steps, settings.spacing)[-1]
        if lowest > start:
            raise LockstepError(
                f"strength: {self.strength:g} is below the last of {steps} steps; give "
                f"{(lowest + 1) / T:g} or more, or take more steps"
            )
        return timesteps(T, steps, settings.spacing, start)

    def noised(
        self, noise: Tensor, level: int, schedule: NoiseSchedule, autoencoder: Autoencoder
    ) -> Tensor:
        """The image, or its latent, at a level, once for each of `noise` (B, C, h, w)."""
        x0 = autoencoder.encode(self.image[None].to(noise.device)).to(noise)
        return schedule.add_noise(x0.expand_as(noise), noise, torch.tensor(level))


def between(seed: int, other: int, count: int, shape: Sequence[int]) -> NoiseOf:
    """Noise on the way from that of one seed's image 0 to that of another's, in `count` images."""

    def noise(indices: Sequence[int]) -> Noise:
        first, second = (
            ImageNoise(each, [0] * len(indices), shape, hardware.device()) for each in (seed, other)
        )
        return InterpolatedNoise(first, second, [index / (count - 1) for index in indices])

    return noise
