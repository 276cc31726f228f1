"""The replica as a source of images: the board with drawn portraits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lockstep.core.processes import cores, pool
from lockstep.sources.origin import site_of
from lockstep.synthetic.board.server import Served, Trouble, serve
from lockstep.synthetic.portraits import image


@contextmanager
def served(origin: dict[str, Any]) -> Iterator[Served]:
    """The site on loopback; all cores draw its images as they are asked for."""
    with pool(cores()) as workers:
        drawn = site_of(origin, lambda number: workers.submit(image, number).result())
        with serve(drawn.answer, passing_trouble) as running:
            yield running


def passing_trouble(host: str, target: str, number: int) -> Trouble | None:
    """One request in fifty is turned away at first, in one of the ways real servers do it."""
    kind = sum(target.encode()) % 150 if number == 1 else 0
    troubles = {
        1: Trouble(status=429, headers={"Retry-After": "0"}),
        2: Trouble(status=503),
        3: Trouble(keep=0.5),
    }
    return troubles.get(kind)
