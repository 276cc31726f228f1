"""Let the threads of a parallel region sleep sooner while other processes want the cores too.

At the end of each region OpenMP's threads wait for the last one, and spin meanwhile: on a quiet
machine it comes at once. Beside another busy process the last one may be waiting for a core, which
the spinning thread has, for as long as the system lets it. GNU's OpenMP spins much shorter while
it has more threads than the machine has processors (`gomp_throttled_spin_count_var` in its
sources), so extra threads, which sleep, are started while the machine is crowded. How work is
split, and thus every result, stays the same.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_EVERY = 2.0
"""Seconds between two looks at the machine."""
_NEIGHBOUR = 0.6
"""Cores that other processes have of those that are wanted here. With less, spinning still pays."""


@contextmanager
def watched(threads: int) -> Iterator[None]:
    """Watch for other processes while a block computes with so many threads.

    Does nothing for one thread, or where the system or its OpenMP library is another one.
    """
    if threads < 2 or not hasattr(os, "sched_getaffinity"):
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(threads, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(threads: int, over: threading.Event) -> None:
    extra: _ExtraThreads | None = None
    before = _Reading()
    while not over.wait(_EVERY):
        now = _Reading()
        crowded = now.cores - now.others_since(before) < threads - _NEIGHBOUR
        before = now
        if crowded and extra is None and (libraries := _libraries()):
            extra = _ExtraThreads(libraries, now.cores - threads + 1)
        elif not crowded and extra is not None:
            extra.end()
            extra = None
    if extra is not None:
        extra.end()


class _Reading:
    """What the processors that this process may use have done so far."""

    def __init__(self) -> None:
        processors = psutil.cpu_times(percpu=True)
        usable = [each for each in os.sched_getaffinity(0) if each < len(processors)]
        self.cores = len(usable)
        self.idle = sum(processors[each].idle + processors[each].iowait for each in usable)
        self.own = time.process_time()
        self.time = time.monotonic()

    def others_since(self, before: _Reading) -> float:
        """How many of the processors others had, on average; a virtual machine's host is one."""
        passed = self.time - before.time
        idle, own = self.idle - before.idle, self.own - before.own
        return self.cores - (idle + own) / passed


class _ExtraThreads:
    """Threads of OpenMP that sleep until `end`."""

    def __init__(self, libraries: list[ctypes.CDLL], count: int) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hold, args=(libraries, count), daemon=True)
        self._thread.start()

    def _hold(self, libraries: list[ctypes.CDLL], count: int) -> None:
        # A region of its own, in which each thread does nothing, as `free` does with no address.
        # Its threads stay with the one that has begun it, until that ends.
        nothing = ctypes.CDLL(None).free
        for library in libraries:
            library.GOMP_parallel(nothing, None, ctypes.c_uint(1 + count), ctypes.c_uint(0))
        self._over.wait()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def _libraries() -> list[ctypes.CDLL]:
    """GNU's OpenMP library, as often as this process has loaded one (packages bring their own)."""
    lines = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
    files = {line.split(maxsplit=5)[5] for line in lines if line.count("/")}
    return [ctypes.CDLL(file) for file in sorted(files) if Path(file).name.startswith("libgomp")]
