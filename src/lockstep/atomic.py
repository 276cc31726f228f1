"""Writing files and folders so that nobody ever sees half of one."""

from __future__ import annotations

import os
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


@contextmanager
def file(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; it takes `path`'s place if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays last: libraries choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        _sync_all([path for path in temporary.rglob("*") if path.is_file()])
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
