"""Writing files and folders so that nobody ever sees half of one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(paths: list[Path]) -> None:
    if len(paths) > 64:
        os.sync()  # one call for all; an fsync for each of 10,000 pictures takes minutes
    else:
        for path in paths:
            _sync(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """A name beside `path`; what killed processes left behind under such names goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays last: libraries choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+){re.escape(path.suffix)}")
    for left in path.parent.iterdir():
        process = pattern.fullmatch(left.name)
        if process and (left == temporary or not _lives(int(process[1]))):
            _remove(left)
    return temporary


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def file(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; it takes `path`'s place if the block succeeds."""
    temporary = _temporary(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; it takes `path`'s place if the block succeeds.

    What stood at `path` before is replaced whole.
    """
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        _sync_all([*temporary.rglob("*"), temporary])
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
