"""How much an archive may grow: what is read of a layer is held against what went into it.

Deflate packs zeros 1,000 times, and layers of archives multiply. Images hardly shrink at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lockstep.core.errors import LockstepError

DEPTH = 6
"""Layers around a file: an archive in a `.tar.gz` has three."""
_RATIO, _SLACK = 200, 64 * 2**20
_TOTAL_RATIO, _TOTAL_SLACK = 1000, 2**30
_MEMBERS = 2_000_000


class Refused(Exception):
    """Something that is not read; the message says why, the same every time."""


class Readable(Protocol):
    """A file that can be read from front to back."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass
class Budget:
    """What one source may still unpack to: bytes over all its layers, and files."""

    source: str
    size: int
    files: int = 0

    def __post_init__(self) -> None:
        self._left = _TOTAL_SLACK + _TOTAL_RATIO * self.size

    def spend(self, count: int) -> None:
        """Raises `LockstepError` when nothing is left."""
        self._left -= count
        if self._left < 0:
            raise LockstepError(
                f"{self.source}: unpacks to more than {_TOTAL_RATIO} times its size; a bomb is no "
                "source of images"
            )

    def one_more(self) -> None:
        """Raises `LockstepError` when there are too many files."""
        self.files += 1
        if self.files > _MEMBERS:
            raise LockstepError(f"{self.source}: has more than {_MEMBERS} files; split it")


class Counted:
    """A file of which one can tell how much was read."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


class Limited:
    """The unpacked bytes of a layer; raises `Refused` when they are too many for what went in.

    `packed` gives how many packed bytes they came from so far; `before` is how many unpacked ones
    had come from the same.
    """

    def __init__(
        self, file: Readable, packed: Callable[[], int], budget: Budget, before: int = 0
    ) -> None:
        self._file, self._packed, self._budget = file, packed, budget
        self.count = before
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size != 0:
            part = self._file.read(2**20 if size < 0 else min(size, 2**20))
            if not part:
                break
            self.count += len(part)
            self._budget.spend(len(part))
            if self.count > _SLACK + _RATIO * self._packed():
                raise Refused(f"unpacks to more than {_RATIO} times its size")
            self.last = (self.last + part)[-512:]
            parts.append(part)
            size -= len(part) if size > 0 else 0
        return b"".join(parts)

    def drain(self) -> None:
        """Read to the end, so that what comes last is checked too."""
        while self.read(2**20):
            pass
