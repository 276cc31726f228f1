"""Images downloaded from a table of addresses, merged into one set as those of folders are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.provenance import read_provenance
from lockstep.sources import exclude
from lockstep.sources.download.download import IMAGES
from lockstep.sources.exclude import Exclusions
from lockstep.sources.folders.unpack import Source
from lockstep.sources.image_folder import merge_sources
from lockstep.sources.image_folder import read as read
from lockstep.sources.listing import MANIFEST, read_lines
from lockstep.sources.registry import Found

DOWNLOADED = "downloaded"
"""The `source` of these images in `decisions.csv`."""


def collect(params: Params, out: Path) -> Found:
    """Merge what was downloaded, each address once.

    Raises `LockstepError` if the download is damaged, or no image is kept.
    """
    downloaded = paths.downloaded(params.workload)
    exclusions = exclude.read(paths.EXCLUDE)
    named = frozenset(_excluded(downloaded, exclusions.of_downloads()))
    excluded = Exclusions(named | exclusions.of_merges_alone().entries)
    source = Source(DOWNLOADED, downloaded / IMAGES, is_own=True)
    merged = merge_sources(params, out, lambda: [source], excluded)
    said = {**read_provenance(downloaded).params, **params.values("source")}
    return Found(said, {"kept": merged.kept, "found": len(merged.rows)})


def _excluded(downloaded: Path, exclusions: Exclusions) -> Iterator[str]:
    """The SHA-256 of each image of which an address, or that itself, is excluded.

    Says on stderr which exclusions name none of them.
    """
    used: set[str] = set()
    for row in read_lines(downloaded / MANIFEST):
        if naming := exclusions.naming(row):
            used |= naming
            yield row["sha256"]
    exclusions.tell_unused(used, "among the downloaded images")
