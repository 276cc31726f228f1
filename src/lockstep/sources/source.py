"""Where a crawl goes: to the real board, or to the replica, which runs as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from lockstep.sources import replica
from lockstep.sources.origin import REPLICA
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Adapter, Loopback, session
from lockstep.synthetic.board.site import SOURCE

_BACKOFF = 1.0  # seconds


@dataclass(frozen=True)
class Source:
    """A way to the web.

    Parameters
    ----------
    address
        Of the board: `https://www.ptt.cc`.
    session
        To ask for pages and images with.
    is_replica
        Whether it all ends on this machine, where nobody needs to be polite.
    """

    address: str
    session: requests.Session
    is_replica: bool

    def policy(self, tries: int) -> RetryPolicy:
        """How long to wait between so many tries."""
        return RetryPolicy(tries, backoff=0.01 if self.is_replica else _BACKOFF)


@contextmanager
def opened(origin: dict[str, Any], connections: int = 10) -> Iterator[Source]:
    """The way to an origin. Unless it is the replica, to public addresses only."""
    if origin["source"] == REPLICA:
        with replica.served(origin) as served:
            yield Source(SOURCE, session(Loopback(served.port, connections)), True)
    else:
        adapter = Adapter(public_only=True, connections=connections)
        yield Source(str(origin["source"]), session(adapter), False)
