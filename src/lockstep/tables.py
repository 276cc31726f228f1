"""Tables as CSV files, which DVC plots and spreadsheets read."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from lockstep import atomic
from lockstep.errors import LockstepError

Cell = str | float


def write(path: Path, rows: Sequence[Mapping[str, Cell]]) -> None:
    """One line a row, the keys of the first one above; there whole or not at all."""
    with (
        atomic.file(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read(path: Path) -> list[dict[str, Cell]]:
    """What `write` wrote: numbers as floats, the rest as text.

    Raises
    ------
    LockstepError
        If it is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {key: _cell(value) for key, value in row.items()} for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` makes it") from None


def _cell(text: str) -> Cell:
    try:
        return float(text)
    except ValueError:
        return text
