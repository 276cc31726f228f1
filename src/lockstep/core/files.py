"""Files and folders that nobody ever sees half of; small JSON files; CSV tables."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from lockstep.core.errors import LockstepError

Cell = str | float
_READ_ERRORS = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError),
    *(TypeError, ValueError, yaml.YAMLError),
)
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system answers that does not have what it is asked for."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_unsynced: set[int] = set()  # file systems of which that has been said


def sync(path: Path) -> None:
    """A file or folder from memory onto the disk; said once where the file system cannot do that.

    Shared folders of virtual machines and some FUSE and network mounts refuse it for folders.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        device = os.fstat(descriptor).st_dev
        if error.errno not in UNSUPPORTED:
            raise
        if device not in _unsynced:
            _unsynced.add(device)
            print(
                f"warning: {path}: its file system does not sync it ({error.strerror}); if the "
                "power fails within the next minute, what is written may be lost",
                file=sys.stderr,
            )
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    """A name beside `path`; what killed processes left behind under such names goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays last: libraries choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)(?:\.old)?{re.escape(path.suffix)}")
    for left in path.parent.iterdir():
        process = pattern.fullmatch(left.name)
        if process and (int(process[1]) == os.getpid() or not _lives(int(process[1]))):
            _remove(left)
    return temporary


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """The disk does not say of what it has no room for: `path` it is."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; it takes `path`'s place if the block succeeds."""
    temporary = _temporary(path)
    try:
        with _named(path):
            yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """As `atomic_file`, for one of the many files of a folder that is still being made.

    That folder is synced when it is whole, and goes with what a killed process left in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with _named(path):
            yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; it takes `path`'s place if the block succeeds.

    What stood at `path` before is replaced whole.
    """
    temporary = _temporary(path)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.old{path.suffix}")
    temporary.mkdir()
    try:
        with _named(path):
            yield temporary
        written = [*temporary.rglob("*"), temporary]
        if len(written) > 64:
            os.sync()  # one call for all; an fsync for each of 10,000 images takes minutes
        else:
            for each in written:
                sync(each)
        if path.exists():  # at once: whoever is killed while removing it would leave half of it
            path.replace(aside)
        try:
            temporary.replace(path)
        except BaseException:
            if aside.exists():
                aside.replace(path)
            raise
        sync(path.parent)
    finally:
        _remove(temporary)
        _remove(aside)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Indented JSON, keys in the order given, a final newline; there whole or not at all."""
    with atomic_file(path) as file:
        file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote. Raises `LockstepError` if it is missing or damaged."""
    try:
        record = json.loads(path.read_text("utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"a {type(record).__name__}, not an object")
        return record
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` makes it") from None
    except (ValueError, RecursionError) as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None


def write_csv(
    path: Path, rows: Iterable[Mapping[str, Cell]], columns: Sequence[str] | None = None
) -> None:
    """One line a row, `columns` (the first row's keys) above; there whole or not at all."""
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        stream = iter(rows)
        first = [next(stream)] if columns is None else []
        table = csv.DictWriter(file, columns or list(first[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(chain(first, stream))


def read_csv(path: Path) -> list[dict[str, Cell]]:
    """What `write_csv` wrote: numbers as floats, the rest as text. Raises as `csv_rows`."""
    return list(csv_rows(path))


def csv_rows(path: Path) -> Iterator[dict[str, Cell]]:
    """The same, a row at a time. Raises `LockstepError` if it is missing or damaged."""
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


@contextmanager
def damage_named(path: Path, mend: str = "dvc checkout") -> Iterator[None]:
    """Inside, what a file lacks or has in another form is a `LockstepError` that names it."""
    try:
        yield
    except _READ_ERRORS as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise LockstepError(f"{path}: damaged ({said}); `{mend}` restores it") from None
