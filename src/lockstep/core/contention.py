"""Let threads that wait for each other sleep sooner while other processes want the cores too.

At the end of each parallel region OpenMP's threads wait for the last one, and spin for up to a few
milliseconds before they sleep. On a quiet machine the last one arrives sooner. Beside another busy
process it may be waiting for the very core on which another thread spins, region after region.
GNU's OpenMP spins for a much shorter time while it has more threads than there are processors (see
`gomp_throttled_spin_count_var` in its sources), so extra threads, which sleep, are started while
the machine is busy. How work is split, and thus every result, stays the same.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_EVERY = 2.0
"""Seconds between two looks at the machine."""
_MISSING = 0.6
"""Of a core: a process that is short of so much is held up. Short of less, spinning pays."""
_MOST = 32
"""Extra threads. More would be needed where a quota gives few of many processors."""


@contextmanager
def watched(threads: int) -> Iterator[None]:
    """Watch for other processes while a block computes with so many threads.

    Does nothing for one thread, or on another system than Linux.
    """
    if threads < 2 or (start := _look()) is None:
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(threads, start, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(threads: int, before: _Reading, over: threading.Event) -> None:
    extra: dict[str, _ExtraThreads] = {}  # by library
    try:
        while not over.wait(_EVERY) and (now := _look()) is not None:
            # With none to add, OpenMP has more threads than processors by itself.
            more = now.cores - threads + 1
            if now.cores - now.others_since(before) >= threads - _MISSING:
                _end(extra)
            elif 0 < more <= _MOST:
                for file, library in _libraries(but=extra):
                    extra[file] = _ExtraThreads(library, more)
            before = now
    finally:
        _end(extra)


@dataclass(frozen=True)
class _Reading:
    """What the processors that this process may use have done so far, in seconds."""

    cores: int
    time: float
    idle: float
    own: float
    """What this process has had of them."""

    def others_since(self, before: _Reading) -> float:
        """How many of the processors others had, on average; a virtual machine's host is one."""
        mine = self.idle - before.idle + self.own - before.own
        return self.cores - mine / (self.time - before.time)


def _look(system: Path = Path("/")) -> _Reading | None:
    """None where the system does not say what each of the processors has done."""
    if sys.platform != "linux":
        return None
    try:
        text = (system / "proc/stat").read_text()
    except OSError:  # no /proc in this container
        return None
    idle = {}
    for line in text.splitlines():
        if line.startswith("cpu"):
            name, *ticks = line.split()
            idle[name] = (int(ticks[3]) + int(ticks[4])) / os.sysconf("SC_CLK_TCK")
    usable = [f"cpu{number}" for number in os.sched_getaffinity(0)]
    if not idle.keys() >= set(usable):
        return None
    total = sum(idle[name] for name in usable)
    return _Reading(len(usable), time.monotonic(), total, time.process_time())


class _ExtraThreads:
    """Threads of an OpenMP library that sleep until `end`."""

    def __init__(self, library: ctypes.CDLL, count: int) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, args=(library, count), daemon=True)
        self._thread.start()

    def _hold(self, library: ctypes.CDLL, count: int) -> None:
        # A region of its own, in which each thread does nothing, as `free` does with no address.
        # Its threads stay with the one that has begun it, until that ends.
        nothing = ctypes.CDLL(None).free
        library.GOMP_parallel(nothing, None, ctypes.c_uint(1 + count), ctypes.c_uint(0))
        self._over.wait()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def _end(extra: dict[str, _ExtraThreads]) -> None:
    for threads in extra.values():
        threads.end()
    extra.clear()


def _libraries(but: dict[str, _ExtraThreads]) -> Iterator[tuple[str, ctypes.CDLL]]:
    """GNU's OpenMP as this process has loaded it: packages bring copies of their own."""
    lines = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
    files = {line.split(maxsplit=5)[5] for line in lines if "/" in line}
    for file in sorted(files - but.keys()):
        if Path(file).name.startswith("libgomp"):
            # One that has been replaced on disk since, say, is left alone.
            with suppress(OSError):
                library = ctypes.CDLL(file, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
                if hasattr(library, "GOMP_parallel"):
                    yield file, library
