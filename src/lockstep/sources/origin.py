"""The board that images come from: the real one, or the replica with synthetic portraits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lockstep.config.schema import REPLICA
from lockstep.core.code import digest_of_code
from lockstep.synthetic.board.site import Site
from lockstep.synthetic.painting import ImageFile
from lockstep.synthetic.portraits import image


def origin_of(source: str, articles: int, seed: int) -> dict[str, Any]:
    """What later stages must know of a source: for the replica, what makes it."""
    made = {"articles": articles, "seed": seed} if source == REPLICA else {}
    return {"source": source, **made}


def site_of(origin: dict[str, Any], draw: Callable[[int], ImageFile] = image) -> Site:
    """The replica that an origin stands for."""
    return Site(int(origin["articles"]), int(origin["seed"]), draw)


def code_of(origin: dict[str, Any]) -> dict[str, str]:
    """What else decides what is found: the replica's code. The real board's is not ours."""
    if origin["source"] != REPLICA:
        return {}
    return {"code": digest_of_code("lockstep.synthetic.board.site", "lockstep.synthetic.portraits")}
