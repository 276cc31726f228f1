"""What the pictures of a workload are to show, and how their files are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lockstep import paths
from lockstep.labels import PROMPT_FILES, multi_hot, read_objects, read_prompts
from lockstep.params import Params
from lockstep.pictures import write_png
from lockstep.pixels import to_bytes

_STRIP = ("red sphere", "cyan cylinder", "cyan cube")
STRIPS, SHOWN = 16, 64


@dataclass(frozen=True)
class Prompts:
    """A set of pictures to be drawn.

    Parameters
    ----------
    name
        Of their grid.
    conditions
        A picture a row, as the generator reads it: labels (N, L), multi-hot, where L is 0 if there
        is no condition; or rows of prompts.
    files
        Their N names.
    shown
        How many of them the grid has, the first ones; they are kept in memory.
    """

    name: str
    conditions: Tensor
    files: Sequence[str]
    shown: int

    def write(self, folder: Path, batches: Iterable[tuple[int, Tensor]]) -> Tensor:
        """Write the files as the pictures are drawn; gives those of the grid.

        `batches` are (number of the first, pictures (B, 3, H, W) in [-1, 1]), in order.
        """
        kept = []
        for first, drawn in batches:
            for number, picture in enumerate(to_bytes(drawn), first):
                write_png(folder / self.files[number], picture)
            if first < self.shown:
                kept.append(drawn[: self.shown - first])
        return torch.cat(kept)


@dataclass(frozen=True)
class Asked:
    """All that is drawn for one seed.

    Parameters
    ----------
    sets
        The pictures.
    strips
        Conditions of the pictures whose way from noise to clear is shown.
    exactly
        Whether those of the grids are written as tensors too, not rounded to bytes.
    """

    sets: tuple[Prompts, ...]
    strips: Tensor
    exactly: bool


def of_labels(params: Params) -> Asked:
    """The pictures that `test.json` and `new_test.json` ask for, beside the packed arrays.

    Raises
    ------
    LockstepError
        If one of the files is not as it should be.
    """
    folder = paths.dataset(params.workload)
    objects = read_objects(folder / "objects.json")
    prompts = {name: read_prompts(folder / f"{name}.json", objects) for name in PROMPT_FILES}

    def labels(rows: list[list[str]]) -> Tensor:
        return torch.from_numpy(multi_hot(rows, objects)).float()

    # Other objects than i-CLEVR's: the strip shows the first set that is asked for.
    known = all(name in objects for name in _STRIP)
    return Asked(
        sets=tuple(
            Prompts(
                name,
                labels(rows),
                [f"images/{name}/{number}.png" for number in range(len(rows))],
                shown=len(rows),
            )
            for name, rows in prompts.items()
        ),
        strips=labels([list(_STRIP) if known else prompts["test"][0]]),
        exactly=True,
    )


def of_nothing(params: Params) -> Asked:
    """`sample.count` pictures without a condition, and strips of the first of them."""
    nothing = torch.zeros(params.sample.count, 0)
    files = [f"gen_{number:05d}.png" for number in range(params.sample.count)]
    pictures = Prompts("pictures", nothing, files, shown=SHOWN)
    return Asked((pictures,), strips=nothing[:STRIPS], exactly=False)
