"""Trying again, with exponential back-off and as late as the server asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lockstep.sources.web.failed import Failed

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often to try, and how long to wait in between.

    Parameters
    ----------
    tries
        At least 1.
    backoff
        Seconds before the second try; doubled before each further one.
    longest
        Most seconds to wait. A server that asks for more is not asked again.
    """

    tries: int
    backoff: float
    longest: float = 300.0


def persist(
    action: Callable[[], T], patience: Patience, sleep: Callable[[float], object] = time.sleep
) -> T:
    """`action()`, tried again after each transient failure. Raises the last `Failed`."""
    number = 1
    while True:
        try:
            return action()
        except Failed as failure:
            pause = max(patience.backoff * 2.0 ** (number - 1), failure.retry_after or 0.0)
            if not failure.transient or number >= patience.tries or pause > patience.longest:
                raise
            sleep(pause)
            number += 1
