"""How a source's list of images on the web is made, where it has one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from lockstep.config.schema import REPLICA, Params
from lockstep.config.sources import Ptt
from lockstep.core.registry import Registry


class Crawler(Protocol):
    """A module of the registry.

    `check` raises `LockstepError` if it is plain that `crawl` would.
    """

    def check(self, params: Params) -> None: ...
    def crawl(self, params: Params, out: Path) -> None: ...


REGISTRY: Registry[Params] = Registry(
    lambda params: params.source.type,
    {
        "addresses": "lockstep.sources.address_table",
        "ptt": "lockstep.sources.ptt.board",
    },
)


def crawler_of(params: Params) -> Crawler | None:
    """The module for a workload's source; None where there is nothing to crawl."""
    return cast(Crawler | None, REGISTRY.load(params))


def check_crawl(params: Params) -> None:
    """What would end a workload's crawl at once, before DVC removes an earlier one for it.

    Raises `LockstepError`.
    """
    if isinstance(params.source, Ptt) and params.crawl.source == REPLICA:
        return  # It has every day; and the module takes long to import.
    if (crawler := crawler_of(params)) is not None:
        crawler.check(params)
