"""What the images of a workload are to show, and how their files are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lockstep.core.images import write_png
from lockstep.core.pixels import to_bytes
from lockstep.models.conditions import Conditions

STRIPS, SHOWN, PER_ROW = 16, 64, 8


@dataclass(frozen=True)
class ImageSet:
    """A set of images to be generated.

    Parameters
    ----------
    name
        Of their grid.
    conditions
        Of the N images.
    files
        Their N names.
    shown
        How many of them the grid has, the first ones; they are kept in memory.
    per_row
        Images in a row of the grid.
    """

    name: str
    conditions: Conditions
    files: Sequence[str]
    shown: int
    per_row: int = PER_ROW

    def write(self, folder: Path, batches: Iterable[tuple[int, Tensor]]) -> Tensor:
        """Write the files as the images are generated; gives those of the grid.

        `batches` are (number of the first, images (B, 3, H, W) in [-1, 1]), in order.
        """
        kept = []
        for first, generated in batches:
            for number, image in enumerate(to_bytes(generated), first):
                write_png(folder / self.files[number], image)
            if first < self.shown:
                kept.append(generated[: self.shown - first])
        return torch.cat(kept)


@dataclass(frozen=True)
class Targets:
    """All that is generated for one seed.

    Parameters
    ----------
    sets
        The images.
    strips
        Conditions of the images whose denoising trajectory is shown.
    exactly
        Whether those of the grids are written as tensors too, not rounded to bytes.
    """

    sets: tuple[ImageSet, ...]
    strips: Conditions
    exactly: bool
