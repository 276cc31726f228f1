"""Other people's tables, a row at a time: Parquet, CSV or TSV with a line of names, JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from lockstep.core.errors import LockstepError
from lockstep.core.formats import is_hidden

ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
TEXT = ".txt"
"""The ending of a text that has one value a line."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LONGEST_FIELD = 2**24  # characters; some tables have whole pages in a column that nobody wants
_DAMAGE = (
    *(ArithmeticError, LookupError, RecursionError, TypeError, ValueError),
    *(MemoryError, NotImplementedError, csv.Error),
)

Row = tuple[str, dict[str, Any]]
"""Where a row stands, for messages, and its values by column."""


def files(place: Path) -> list[Path]:
    """The file at `place`, if it is a table or a text; or the tables of the folder there."""
    if place.is_dir():
        found = (path for path in place.iterdir() if path.is_file() and _is_seen(path))
        return sorted(path for path in found if path.suffix.lower() in ENDINGS)
    return [place] if place.suffix.lower() in (*ENDINGS, TEXT) else []


def columns(path: Path) -> list[str]:
    """The names of a table's columns; of JSON lines those of the first line.

    Raises `LockstepError` if it cannot be read, or is damaged.
    """
    with damage_named(path):
        match path.suffix.lower():
            case ".parquet":
                return list(_parquet().read_schema(path).names)
            case ".csv" | ".tsv":
                with _csv(path) as table:
                    return [*(table.fieldnames or ())]
            case _:
                return next((list(record) for _, record in _records(path)), [])


def rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    """The rows of a table, with the values of the columns `wanted`, which it must have.

    A value that a row lacks is None. Raises `LockstepError` as `columns`.
    """
    with damage_named(path):
        match path.suffix.lower():
            case ".parquet":
                number = 0
                with _parquet().ParquetFile(path) as file:
                    for batch in file.iter_batches(columns=list(wanted)):
                        for record in batch.to_pylist():
                            number += 1
                            yield f"{path.name}, row {number}", record
            case ".csv" | ".tsv":
                with _csv(path) as table:
                    for record in table:
                        yield f"{path.name}:{table.line_num}", {n: record[n] for n in wanted}
            case _:
                for place, record in _records(path):
                    yield place, {name: record.get(name) for name in wanted}


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text that are not empty, with where they stand. Raises `LockstepError`."""
    with damage_named(path):
        yield from _lines(path)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Inside, what cannot be read of a file is a `LockstepError` of one line that names it."""
    try:
        yield
    except UnicodeDecodeError:
        raise LockstepError(f"{path}: not in UTF-8; save it as that") from None
    except OSError as error:
        raise LockstepError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _DAMAGE as error:
        said = " ".join(str(error).split())
        raise LockstepError(f"{path}: damaged ({said}); write it anew") from None


def _is_seen(path: Path) -> bool:
    return not is_hidden(PurePath(path.name))


def _parquet() -> Any:
    # Here: it comes with MLflow, and takes long to import.
    from pyarrow import parquet

    return parquet


@contextmanager
def _csv(path: Path) -> Iterator[csv.DictReader[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield csv.DictReader(file, delimiter=_DELIMITERS[path.suffix.lower()])


def _records(path: Path) -> Iterator[Row]:
    for place, line in _lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{place}: {error.args[0].partition(':')[0]}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{place} is no object")
        yield place, record


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip():
                yield f"{path.name}:{number}", text
