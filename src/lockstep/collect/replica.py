"""The replica as a source of pictures: the board with drawn portraits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lockstep.collect.code import digest_of_code
from lockstep.standins.board.server import Served, Trouble, serve
from lockstep.standins.board.site import PictureFile, Site
from lockstep.standins.portraits import picture
from lockstep.workers import cores, pool

REPLICA = "replica"


def site(origin: dict[str, Any], draw: Callable[[int], PictureFile] = picture) -> Site:
    """The site of an origin that `lockstep.collect.source.origin` made."""
    return Site(int(origin["articles"]), int(origin["seed"]), draw)


@contextmanager
def served(origin: dict[str, Any]) -> Iterator[Served]:
    """The site on loopback; all cores draw its pictures as they are asked for."""
    with pool(cores()) as workers:
        drawn = site(origin, lambda number: workers.submit(picture, number).result())
        with serve(drawn.answer, passing_trouble) as running:
            yield running


def code(origin: dict[str, Any]) -> dict[str, str]:
    """What else decides what is found: the replica's code. The real board's is not ours."""
    if origin["source"] != REPLICA:
        return {}
    return {"code": digest_of_code("standins/board", "standins/portraits")}


def passing_trouble(host: str, target: str, number: int) -> Trouble | None:
    """One request in fifty is turned away at first, in one of the ways real servers do it."""
    kind = sum(target.encode()) % 150 if number == 1 else 0
    troubles = {
        1: Trouble(status=429, headers={"Retry-After": "0"}),
        2: Trouble(status=503),
        3: Trouble(keep=0.5),
    }
    return troubles.get(kind)
