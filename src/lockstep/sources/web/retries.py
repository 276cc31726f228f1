"""Trying again with exponential back-off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lockstep.sources.web.get import Failed

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how many seconds to wait in between."""

    tries: int  # at least 1
    backoff: float  # before the second try; doubled before each further one
    longest: float = 300.0  # A server that wants a longer rest is not asked again.


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
