"""The curves of a training as files that DVC plots and metrics read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.core.files import Cell, read_csv, write_csv

Row = dict[str, float]


@dataclass
class History:
    """What was measured: `train` rows (step, loss, lr), `validation` rows (step, val_loss).

    `recent` are the losses since the last row of `train`.
    """

    train: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)


def write(folder: Path, history: History) -> None:
    """`train.csv` and `validation.csv`, one line a row, a header above; each is always whole.

    The losses stand last: that column is what DVC draws.
    """
    write_csv(folder / "train.csv", history.train, ("step", "lr", "loss"))
    write_csv(folder / "validation.csv", history.validation, ("step", "val_loss"))


def read(folder: Path) -> History:
    """What `write` wrote. Raises `LockstepError` if it is missing."""
    train, validation = (read_csv(folder / f"{name}.csv") for name in ("train", "validation"))
    return History([_row(one) for one in train], [_row(one) for one in validation])


def summary(history: History) -> dict[str, Any]:
    """The metrics of a training: its last rows."""
    last = history.train[-1]
    metrics = {"steps": int(last["step"]), "loss": last["loss"]}
    if history.validation:
        metrics["val_loss"] = history.validation[-1]["val_loss"]
    return metrics


def _row(cells: Mapping[str, Cell]) -> Row:
    return {**{key: float(value) for key, value in cells.items()}, "step": int(cells["step"])}
