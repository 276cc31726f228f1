"""A circuit breaker a host: one that refuses is asked less and less, and in the end no more.

After Nygard, Release It! (2007), chapter 5: closed, all requests pass; open, none; half-open, one.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

from lockstep.sources.web.get import Failed
from lockstep.sources.web.retries import RetryPolicy

FEW = 5
"""Addresses in a row that fail until a breaker opens."""

MANY = 20
"""Answers after which its earlier rests are forgotten."""

RESTS = (5.0, 15.0, 45.0, 135.0)
"""How long an open breaker rests before each probe, in units of `RetryPolicy.backoff`."""

HOST_REFUSES = "host refuses"
"""Why an address was not asked for: its host had refused too often."""


def host_of(address: str) -> str:
    """The host in an address, in lower case; empty if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def refused() -> Failed:
    """The failure of an address that was not asked for."""
    return Failed(HOST_REFUSES, transient=True)


class Breaker:
    """Whether one host may be asked now; a state machine without a clock, `now` is in seconds.

    A 429 or a Retry-After lets the host alone for that long. `FEW` addresses in a row that fail
    open the breaker: it rests, then lets one probe pass. An answer to it closes the breaker; a
    failure makes it rest for longer. The rests begin anew only when it has had `MANY` answers. It
    refuses for good when the last of `RESTS` was of no use, when the host would be without an
    answer for more than `policy.longest`, or when the host itself asks for a longer rest than that.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.until = -math.inf
        """No request passes before."""
        self.refusal: str | None = None
        """For what reason the host is asked no more; None while it is."""
        self._policy = policy
        self._open_since: float | None = None
        self._under_way = 0
        self._probing = False
        self._failures = 0  # in a row
        self._answers = 0  # since it was open
        self._rests = 0  # since it had MANY answers

    def admit(self, now: float) -> bool:
        """Whether a request may begin; if so, `answered` or `failed` must be told of its end."""
        is_open = self._open_since is not None
        if self.refusal is not None or now < self.until or (is_open and self._under_way):
            return False
        self._under_way += 1
        self._probing = is_open
        return True

    def answered(self) -> None:
        """A request came to what is no fault of the host: an image, or a 404."""
        self._under_way -= 1
        self._failures = 0
        if self._probing:
            self._open_since, self._probing = None, False
        # What was under way when it opened says nothing of how the host is now.
        if self._open_since is None:
            self._answers += 1
            if self._answers >= MANY:
                self._rests = 0

    def failed(self, now: float, failure: Failed, *, again: bool = False) -> None:
        """A request came to a failure of the host.

        `again`: for an address that has failed before. A broken one says nothing new of its host.
        """
        probing, self._probing = self._probing, False
        self._under_way -= 1
        self._failures += not again
        pause = failure.retry_after or 0.0
        if failure.reason == "HTTP 429":
            pause = max(pause, self._policy.backoff)
        refuses = pause > self._policy.longest
        if self._open_since is None and self._failures >= FEW:
            self._open_since, self._answers, probing = now, 0, True
        if probing and self._open_since is not None and not refuses:
            if self._rests < len(RESTS):
                pause = max(pause, RESTS[self._rests] * self._policy.backoff)
                refuses = now + pause - self._open_since > self._policy.longest
            else:
                refuses = True
            self._rests += 1
        if refuses:
            self.refusal = self.refusal or failure.reason
        self.until = max(self.until, now + pause)


class Hosts:
    """The breakers of all hosts, for several threads."""

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self.policy = policy
        self.clock = clock
        self._lock = threading.Lock()
        self._breakers: defaultdict[str, Breaker] = defaultdict(partial(Breaker, policy))

    def admit(self, host: str) -> bool:
        """Whether a request to `host` may begin; if so, `report` must be told how it ended."""
        with self._lock:
            return self._breakers[host].admit(self.clock())

    def report(self, host: str, failure: Failed | None, *, again: bool = False) -> None:
        """A request that was admitted has ended. A transient failure is the host's.

        `again`: for an address that has failed before.
        """
        with self._lock:
            breaker = self._breakers[host]
            if failure is not None and failure.transient:
                breaker.failed(self.clock(), failure, again=again)
            else:
                breaker.answered()

    @contextmanager
    def request(self, host: str) -> Iterator[None]:
        """Around a request to `host`. Raises `Failed` if it may not be asked now."""
        if not self.admit(host):
            raise refused()
        try:
            yield
        except Failed as failure:
            self.report(host, failure)
            raise
        self.report(host, None)

    def until(self, host: str) -> float:
        """Before this moment of `clock` no request to `host` is admitted."""
        with self._lock:
            return self._breakers[host].until

    def refusal(self, host: str) -> str | None:
        """What `host` said, if it is asked no more."""
        with self._lock:
            return self._breakers[host].refusal
