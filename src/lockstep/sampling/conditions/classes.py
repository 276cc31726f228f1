"""Classes: each image shows one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.data.dataset import open_dataset
from lockstep.models.conditions import Conditions
from lockstep.sampling.conditions.names import read_names, rows_of
from lockstep.sampling.targets import PER_ROW, SHOWN, STRIPS, ImageSet, Targets


def targets(params: Params) -> Targets:
    """`sample.count` images, as many of each class as of the others, or one more.

    They go through the classes in turn. A column of the grid is a class, where there are 16 at
    most; a strip is shown for each of the first 16. Raises `LockstepError` without a data set.
    """
    classes = len(open_dataset(paths.dataset(params.workload)).names)
    count = max(params.sample.count, classes)
    ids = torch.arange(count) % classes
    conditions = Conditions.of(torch.eye(classes, dtype=torch.uint8)[ids])
    files = [f"gen_{number:05d}.png" for number in range(count)]
    images = ImageSet(
        "test", conditions, files, shown=_shown(count, classes), per_row=min(classes, STRIPS)
    )
    return Targets((images,), strips=conditions[: min(classes, STRIPS)], exactly=True)


def _shown(count: int, classes: int) -> int:
    """Images of the grid: up to eight of each class, and not many more than `SHOWN` in all."""
    each = max(1, min(PER_ROW, SHOWN // classes, count // classes))
    return classes * each


def read(folder: Path, texts: Sequence[str | None]) -> Conditions:
    """Texts that name a class each. Raises `LockstepError` on an unknown one."""
    names = read_names(folder)
    for text in texts:
        if text is None:
            raise LockstepError(f"{folder}: wants a class: {', '.join(names)}; name one")
    return rows_of(names, [[str(text).strip()] for text in texts])


def warnings(folder: Path, text: str | None) -> list[str]:
    """None: a text is read whole or refused."""
    return []
