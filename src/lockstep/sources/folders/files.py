"""The files of folders and archives by their bytes: each is noted, the same bytes are read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.sources.folders.table import File, FileTable
from lockstep.sources.folders.unpack import Source, entries
from lockstep.sources.registry import Progress


def distinct(
    sources: Sequence[Source], max_bytes: int, found: FileTable, progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """The SHA-256 and the bytes of each file that has not the bytes of one before it.

    Every file is put into `found`, in whatever order they are there. Raises as
    `lockstep.sources.folders.unpack.entries`.
    """
    ranks = {source.name: rank for rank, source in enumerate(sources)}
    if len(ranks) < len(sources):
        raise LockstepError("source.paths: the same one twice; remove it")
    for entry in progress(entries(sources, max_bytes), 0):
        sha256 = "" if entry.data is None else hashlib.sha256(entry.data).hexdigest()
        file = File(ranks[entry.source], entry.source, entry.path, sha256, entry.refused)
        if found.add(file) and entry.data is not None:
            yield sha256, entry.data


def verified(name: str, expected: str | None, home: Path) -> tuple[Source, str]:
    """The source at a path, absolute or from `home`, and its SHA-256.

    Raises `LockstepError` if it is missing, or is not as `expected` where that is given.
    """
    path = home / name
    if not path.exists():
        raise LockstepError(f"{path}: no such file or folder; see source.paths")
    digest = hashing.sha256(path)
    if expected is not None and digest != expected:
        raise LockstepError(
            f"{path}: is not what source.sha256 says; if that is meant, set {digest}"
        )
    return Source(name, path), digest
