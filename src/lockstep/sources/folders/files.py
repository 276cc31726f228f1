"""The files of folders and archives by their bytes: each is noted, the same bytes are read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.sources.folders.unpack import Source, entries
from lockstep.sources.registry import Progress


@dataclass(frozen=True, order=True, slots=True)
class File:
    """A file of a source, ordered by its source's number and its path there.

    `sha256` is empty if it was not read; `refused` says why.
    """

    rank: int
    source: str
    path: str
    sha256: str
    refused: str

    @property
    def place(self) -> str:
        """How `exclude.txt` names it."""
        return f"{self.source}:{self.path}"

    @property
    def names(self) -> frozenset[str]:
        """All by which `exclude.txt` may name it."""
        return frozenset({self.place, self.sha256} - {""})


def distinct(
    sources: Sequence[Source], max_bytes: int, found: list[File], progress: Progress
) -> Iterator[tuple[str, bytes]]:
    """The SHA-256 and the bytes of each file that has not the bytes of one before it.

    Every file is put into `found`, in whatever order they are there. Raises as
    `lockstep.sources.folders.unpack.entries`.
    """
    ranks = {source.name: rank for rank, source in enumerate(sources)}
    if len(ranks) < len(sources):
        raise LockstepError("source.paths: the same one twice; remove it")
    seen: set[str] = set()
    for entry in progress(entries(sources, max_bytes), 0):
        sha256 = "" if entry.data is None else hashlib.sha256(entry.data).hexdigest()
        found.append(File(ranks[entry.source], entry.source, entry.path, sha256, entry.refused))
        if entry.data is not None and sha256 not in seen:
            seen.add(sha256)
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
