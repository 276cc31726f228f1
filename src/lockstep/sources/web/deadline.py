"""A limit on the whole time that an answer takes.

A socket's own timeout starts anew with every byte, which a slow server may send for ever.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_thread = threading.local()


class _Watch:
    def __init__(self) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def set(self, connection: socket.socket | None) -> None:
        with self._lock:
            self._socket = connection
            if self.passed:
                self._shut()

    def fire(self) -> None:
        with self._lock:
            self.passed = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # Not the method of an SSLSocket: that one takes TLS away from under its reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


@contextmanager
def deadline(seconds: float) -> Iterator[Callable[[], bool]]:
    """Shut the connection that this thread waits on after `seconds`.

    Gives a function that says whether it happened: what was read until then is incomplete.
    """
    watch = _Watch()
    timer = threading.Timer(seconds, watch.fire)
    timer.daemon = True
    _thread.watch = watch
    timer.start()
    try:
        yield lambda: watch.passed
    finally:
        timer.cancel()
        watch.set(None)
        _thread.watch = None


def waits_on(connection: socket.socket | None) -> None:
    """This thread begins to wait for an answer on `connection`."""
    watch: _Watch | None = getattr(_thread, "watch", None)
    if watch is not None:
        watch.set(connection)
