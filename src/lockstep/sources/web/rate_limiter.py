"""Hosts that asked to be left alone for a while: one told one thread, and all heed it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lockstep.sources.web.failed import Failed
from lockstep.sources.web.retries import Patience

_TOO_MANY = "HTTP 429"


class Rests:
    """Until when each host is left alone. For several threads.

    Parameters
    ----------
    patience
        `backoff` is how long a host rests that names no time; for more than `longest` no thread
        waits.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._until: dict[str, tuple[float, str]] = {}

    @contextmanager
    def asking(self, host: str) -> Iterator[None]:
        """Around a request: waits until `host` may be asked, and heeds what it says then.

        Raises `Failed`, for the reason that the host gave, if the wait would be too long.
        """
        self._wait(host)
        try:
            yield
        except Failed as failure:
            if failure.reason == _TOO_MANY or failure.retry_after is not None:
                pause = max(failure.retry_after or 0.0, self._patience.backoff)
                until = time.monotonic() + pause, failure.reason
                with self._lock:
                    self._until[host] = max(self._until.get(host, until), until)
            raise

    def _wait(self, host: str) -> None:
        while host in self._until:  # It may have become later meanwhile.
            until, reason = self._until[host]
            left = until - time.monotonic()
            if left <= 0:
                return
            if left > self._patience.longest:
                raise Failed(reason, transient=True, retry_after=left)
            time.sleep(left)
