"""How the images that a crawl listed are fetched, where there was a crawl.

A module of this registry has `fetch(params, crawled, out)`.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Protocol, cast

from lockstep.config.schema import Params
from lockstep.core.registry import Registry


class Downloader(Protocol):
    """A module of the registry."""

    def fetch(self, params: Params, crawled: Path, out: Path) -> None: ...


def _kind_of(params: Params) -> Hashable:
    return params.source.type


REGISTRY = Registry(_kind_of, {"ptt": "lockstep.sources.download.listed"})


def downloader_of(params: Params) -> Downloader | None:
    """The module for a workload's source; None where there is nothing to fetch."""
    return cast(Downloader | None, REGISTRY.load(params))
