"""How the web is asked for a source's list of images, where it has one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from lockstep.config.schema import REPLICA, Params
from lockstep.core.registry import Registry


class Crawler(Protocol):
    """A module of the registry.

    `check` raises `LockstepError` if the web cannot be asked for what `crawl` is to bring.
    """

    def check(self, params: Params) -> None: ...
    def crawl(self, params: Params, out: Path) -> None: ...


REGISTRY: Registry[Params] = Registry(
    lambda params: params.source.type, {"ptt": "lockstep.sources.ptt.board"}
)


def crawler_of(params: Params) -> Crawler | None:
    """The module for a workload's source; None where there is nothing to crawl."""
    return cast(Crawler | None, REGISTRY.load(params))


def check_crawl(params: Params) -> None:
    """What would end a workload's crawl at once, before DVC removes an earlier one for it.

    Raises `LockstepError`.
    """
    if params.crawl.source != REPLICA and (crawler := crawler_of(params)) is not None:
        crawler.check(params)
