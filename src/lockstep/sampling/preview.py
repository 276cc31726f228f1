"""Images by a model that is still being trained, to look at while it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.core import distributed
from lockstep.core.images import grid
from lockstep.core.pixels import to_bytes
from lockstep.data.dataset import Dataset
from lockstep.models.autoencoder import Autoencoder, load
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, Generator
from lockstep.sampling.sample import PIXELS, Trained, denoising_strips

_IMAGES, _PER_ROW = 16, 8


@dataclass(frozen=True)
class Preview:
    """Images as bytes: all of them (H, W, 3), and in its order each one's denoising strip."""

    grid: NDArray[np.uint8]
    strips: tuple[NDArray[np.uint8], ...]


def generate(model: Generator, description: Description, params: Params, data: Dataset) -> Preview:
    """16 images for the conditions of the first held-out images, or of the first ones.

    Always the same conditions and noise, so that the grids of a training can be compared. All
    processes take part.
    """
    positions = data.indices("validation")
    positions = positions if len(positions) else data.indices("train")
    # As many rounds for each process: a network in parts is computed by all of them together.
    count = -(-_IMAGES // distributed.size()) * distributed.size()
    conditions = Conditions.of(
        torch.from_numpy(data.conditions_of(np.resize(positions[:count], count)))
    )
    trained = Trained(model, description, _autoencoder(data.encoded))
    settings = params.sample
    if settings.guidance_weights is not None:  # which are not there yet
        settings = dataclasses.replace(settings, guidance_scale=1.0)
    strips = denoising_strips(trained, settings, conditions, seed=0)[:_IMAGES]
    return Preview(
        grid=grid(to_bytes(strips[:, -1]), per_row=_PER_ROW),
        strips=tuple(grid(to_bytes(strip), per_row=len(strip)) for strip in strips),
    )


@lru_cache(maxsize=1)
def _autoencoder(encoded: Path | None) -> Autoencoder:
    return PIXELS if encoded is None else load(encoded)
