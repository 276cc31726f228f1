"""What the images of a workload are to show, how their files are called, and where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lockstep.core.errors import LockstepError
from lockstep.core.images import write_png
from lockstep.core.pixels import to_bytes
from lockstep.core.provenance import FILE, read_provenance
from lockstep.models.conditions import Conditions

STRIPS, SHOWN, PER_ROW = 16, 64, 8


@dataclass(frozen=True)
class ImageSet:
    """N images to be generated: their conditions, and the names of their files.

    Their grid, called `name`, has the first `shown` of them, which are kept in memory.
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

    `strips` are the conditions of the images whose denoising trajectory is shown; `exactly` says
    whether the images of the grids are written as tensors too, not rounded to bytes.
    """

    sets: tuple[ImageSet, ...]
    strips: Conditions
    exactly: bool


def seeds_of(samples: Path) -> list[int]:
    """`sample.seeds` as they were when the images were generated.

    Raises `LockstepError` if the folder does not say so.
    """
    seeds = read_provenance(samples).params.get("sample.seeds")
    if not seeds:
        raise LockstepError(f"{samples / FILE}: names no sample.seeds; `dvc checkout` restores it")
    return list(seeds)


def of_seed(samples: Path, number: int, seed: int) -> Path:
    """The set of images of a seed: the first stands where the official evaluation looks."""
    return samples if number == 0 else samples / f"seed_{seed}"
