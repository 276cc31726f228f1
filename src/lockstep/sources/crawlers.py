"""How the web is asked for a source's list of images, where it has one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from lockstep.config.schema import Params
from lockstep.core.registry import Registry


class Crawler(Protocol):
    """A module of the registry."""

    def crawl(self, params: Params, out: Path) -> None: ...


REGISTRY: Registry[Params] = Registry(
    lambda params: params.source.type, {"ptt": "lockstep.sources.ptt.board"}
)


def crawler_of(params: Params) -> Crawler | None:
    """The module for a workload's source; None where there is nothing to crawl."""
    return cast(Crawler | None, REGISTRY.load(params))
