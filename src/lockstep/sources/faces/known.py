"""The truth about the replica's images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.sources.listing import read_lines
from lockstep.sources.names import MANIFEST
from lockstep.sources.origin import REPLICA, site_of
from lockstep.synthetic.portraits import Face, truth


def truth_of(downloaded: Path, origin: dict[str, Any]) -> dict[str, tuple[Face, ...]] | None:
    """The faces in each downloaded image by its SHA-256, or None for a board that is not ours.

    `origin` is what `lockstep.sources.origin` made of the download's source.
    """
    if origin["source"] != REPLICA:
        return None
    site = site_of(origin)
    found = {}
    for row in read_lines(downloaded / MANIFEST):
        hosted = site.hosted(row["address"])
        # The replica shows the collection 0, whatever its own seed is.
        found[row["sha256"]] = () if hosted is None else truth(0, hosted.shows)
    return found
