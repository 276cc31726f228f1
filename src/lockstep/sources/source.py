"""Where a crawl goes: to the real board, or to the replica, which runs as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from lockstep.config.schema import REPLICA
from lockstep.core.executors import pool
from lockstep.core.processes import cores
from lockstep.sources.origin import site_of
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Adapter, Loopback, session
from lockstep.synthetic.board.server import Trouble, serve
from lockstep.synthetic.board.site import SOURCE
from lockstep.synthetic.portraits import image

_BACKOFF = 1.0  # seconds


@dataclass(frozen=True)
class Source:
    """A way to the web."""

    address: str  # of the board: `https://www.ptt.cc`
    session: requests.Session
    is_replica: bool  # It all ends on this machine, where nobody needs to be polite.

    def policy(self, tries: int) -> RetryPolicy:
        """How long to wait between so many tries."""
        return RetryPolicy(tries, backoff=0.01 if self.is_replica else _BACKOFF)


@contextmanager
def opened(origin: dict[str, Any], user_agent: str, connections: int = 10) -> Iterator[Source]:
    """The way to an origin: to public addresses only, or to the replica on loopback.

    Every request says that it is `user_agent`'s.
    """
    if origin["source"] != REPLICA:
        adapter = Adapter(public_only=True, connections=connections)
        yield Source(str(origin["source"]), session(adapter, user_agent), False)
        return
    with pool(cores()) as workers:  # All of them draw its images as they are asked for.
        site = site_of(origin, lambda number: workers.submit(image, number).result())
        with serve(site.answer, passing_trouble) as served:
            way = session(Loopback(served.port, connections), user_agent)
            yield Source(SOURCE, way, True)


def passing_trouble(host: str, target: str, number: int) -> Trouble | None:
    """One request in fifty is turned away at first, in one of the ways real servers do it."""
    kind = sum(target.encode()) % 150 if number == 1 else 0
    troubles = {
        1: Trouble(status=429, headers={"Retry-After": "0"}),
        2: Trouble(status=503),
        3: Trouble(keep=0.5),
    }
    return troubles.get(kind)
