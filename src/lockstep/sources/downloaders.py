"""How the images that a crawl listed are fetched, where there was a crawl."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from lockstep.config.schema import Params
from lockstep.core.registry import Registry


class Downloader(Protocol):
    """A module of the registry."""

    def fetch(self, params: Params, crawled: Path, out: Path) -> None: ...


REGISTRY: Registry[Params] = Registry(
    lambda params: params.source.type,
    dict.fromkeys(("addresses", "ptt"), "lockstep.sources.download.download"),
)


def downloader_of(params: Params) -> Downloader | None:
    """The module for a workload's source; None where there is nothing to fetch."""
    return cast(Downloader | None, REGISTRY.load(params))
