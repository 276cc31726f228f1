"""Folders and archives of images, merged into one set; killed, the same call goes on."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.sources.folders import merging
from lockstep.sources.registry import Collected, Found


def collect(params: Params, out: Path) -> Found:
    """See `lockstep.sources.folders.merging.collect`."""
    found, _ = merging.collect(params, out)
    return found


def read(folder: Path) -> Collected:
    """`images/<number>.png`, no two of which belong together.

    Raises
    ------
    LockstepError
        If there is none.
    """
    return merging.read(folder)
