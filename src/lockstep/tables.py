"""Tables as CSV files, which DVC plots and spreadsheets read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
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
    """What `write` wrote: numbers as floats, the rest as text. Raises as `rows`."""
    return list(rows(path))


def rows(path: Path) -> Iterator[dict[str, Cell]]:
    """The same, a row at a time.

    Raises
    ------
    LockstepError
        If it is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            for row in table:
                if None in row or None in row.values():
                    raise ValueError(f"line {table.line_num} is too short or too long")
                yield {key: _cell(value) for key, value in row.items()}
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` makes it") from None
    except (ValueError, csv.Error) as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None


def _cell(text: str) -> Cell:
    try:
        return float(text)
    except ValueError:
        return text
