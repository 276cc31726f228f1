"""What was read from folders, kept in memory until their files change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """The `most` things used last, each for as long as the files of its folders stay the same.

    A folder that a stage has replaced while the page is open is so read anew.
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()

    def get(self, kind: Hashable, folders: tuple[Path, ...], load: Callable[[], T]) -> T:
        """What `load()` gives, or gave for the same `kind` and unchanged `folders`."""
        key, stamp = (kind, folders), tuple(map(_stamp, folders))
        known = self._known.get(key)
        if known is None or known[0] != stamp:
            self._known.pop(key, None)
            known = None  # before the new one is read: both need not fit
            known = stamp, load()
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return known[1]


def _stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when a folder, or a file in it, is written or replaced; empty without one."""
    try:
        files = sorted(folder.iterdir())
        stats = [(file.name, file.stat()) for file in files]
    except OSError:
        return ()
    return tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats)
