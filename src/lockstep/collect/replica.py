"""The replica as a source of pictures: the board with drawn portraits."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from lockstep.collect.code import digest_of_code
from lockstep.standins.board.server import Served, Trouble, serve
from lockstep.standins.board.site import PictureFile, Site
from lockstep.standins.portraits import picture

REPLICA = "replica"


def site(origin: dict[str, Any], draw: Callable[[int], PictureFile] = picture) -> Site:
    """The site of an origin that `lockstep.collect.source.origin` made."""
    return Site(int(origin["articles"]), int(origin["seed"]), draw)


@contextmanager
def served(origin: dict[str, Any]) -> Iterator[Served]:
    """The site on loopback; all cores draw its pictures as they are asked for."""
    # "spawn": a forked child of a process that has used threads may hang.
    context = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, context, initializer=_end_with_parent) as pool:
        drawn = site(origin, lambda number: pool.submit(picture, number).result())
        with serve(drawn.answer, passing_trouble) as running:
            yield running


def _end_with_parent() -> None:
    """End this process when its parent does, which, killed, could not tell it to."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
