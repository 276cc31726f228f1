"""Names of labels or classes, and rows that have some of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lockstep.core.errors import LockstepError
from lockstep.data.labels import multi_hot, read_objects
from lockstep.models import generator
from lockstep.models.conditions import Conditions

FILE = "names.json"


def read_names(folder: Path) -> dict[str, int]:
    """The names that the model in a folder was trained with, and their columns.

    Raises `LockstepError` if they are missing, or not as many as the model has labels.
    """
    path, labels = folder / FILE, generator.describe(folder).labels
    if not path.exists():
        raise LockstepError(f"{path}: missing; `dvc checkout` restores it")
    names = read_objects(path)
    if len(names) != labels:
        raise LockstepError(f"{path} has {len(names)} names, and the model {labels}: train again")
    return names


def rows_of(names: dict[str, int], chosen: Sequence[Sequence[str]]) -> Conditions:
    """Conditions (N, L), multi-hot. Raises `LockstepError` on a name that is not known."""
    for name in (name for row in chosen for name in row):
        if name not in names:
            raise LockstepError(f"unknown name {name!r}; choose from {', '.join(names)}")
    return Conditions.of(torch.from_numpy(multi_hot(chosen, names)))
