"""SIGTERM and Ctrl-C as a question that a loop asks between two steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether one of the signals has come. For the main thread."""
    requested = False

    def request(_signal: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True

    before = [signal.signal(number, request) for number in _SIGNALS]
    try:
        yield lambda: requested
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
