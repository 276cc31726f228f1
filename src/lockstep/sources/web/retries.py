"""Trying again with exponential back-off, and leaving hosts alone for as long as they ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from lockstep.sources.web.get import Failed

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how many seconds to wait in between."""

    tries: int  # at least 1
    backoff: float  # before the second try; doubled before each further one
    longest: float = 300.0  # A server that asks for more is not asked again.


def retry(
    action: Callable[[], T], policy: RetryPolicy, sleep: Callable[[float], object] = time.sleep
) -> T:
    """`action()`, tried again after each transient failure. Raises the last `Failed`."""
    number = 1
    while True:
        try:
            return action()
        except Failed as failure:
            pause = max(policy.backoff * 2.0 ** (number - 1), failure.retry_after or 0.0)
            if not failure.transient or number >= policy.tries or pause > policy.longest:
                raise
            sleep(pause)
            number += 1


class RateLimiter:
    """Until when each host is left alone; for several threads.

    A host that tells one thread to wait is left alone by all: for `policy.backoff` if it names no
    time. For more than `policy.longest` no thread waits.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self._lock = threading.Lock()
        self._until: dict[str, tuple[float, str]] = {}

    @contextmanager
    def request(self, host: str) -> Iterator[None]:
        """Around a request: waits until `host` may be asked, and heeds what it says then.

        Raises `Failed`, for the reason that the host gave, if the wait would be too long.
        """
        self._wait(host)
        try:
            yield
        except Failed as failure:
            if failure.reason == "HTTP 429" or failure.retry_after is not None:
                pause = max(failure.retry_after or 0.0, self.policy.backoff)
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
            if left > self.policy.longest:
                raise Failed(reason, transient=True, retry_after=left)
            time.sleep(left)
