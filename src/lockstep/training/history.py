"""The curves of a training as files that DVC plots and metrics read."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_folder

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
    """`train.csv` and `validation.csv`, one line a row, a header above."""
    with atomic_folder(folder) as out:
        _write_csv(out / "train.csv", ("step", "loss", "lr"), history.train)
        _write_csv(out / "validation.csv", ("step", "val_loss"), history.validation)


def read(folder: Path) -> History:
    """What `write` wrote. Raises `LockstepError` if it is missing."""
    return History(_read_csv(folder / "train.csv"), _read_csv(folder / "validation.csv"))


def summary(history: History) -> dict[str, Any]:
    """The metrics of a training: its last rows."""
    last = history.train[-1]
    metrics = {"steps": int(last["step"]), "loss": last["loss"]}
    if history.validation:
        metrics["val_loss"] = history.validation[-1]["val_loss"]
    return metrics


def _write_csv(path: Path, fields: tuple[str, ...], rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read_csv(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` makes it") from None
    return [{**row, "step": int(row["step"])} for row in rows]
