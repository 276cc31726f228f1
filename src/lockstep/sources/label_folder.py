"""A folder in i-CLEVR's form: images, and files with the labels of what they show."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core.processes import progress
from lockstep.sources import iclevr
from lockstep.sources.registry import Collected, Found, said_of, verified_folder


def collect(params: Params, out: Path) -> Found:
    """Bring the folder in.

    Raises
    ------
    LockstepError
        If it is not the one of params.yaml, or a file is missing or wrong.
    """
    settings, folder = verified_folder(params)
    iclevr.import_folder(folder, out, settings.size, progress("read images", "image"))
    return Found(said_of(params))


def read(folder: Path) -> Collected:
    """See `lockstep.sources.iclevr.read`."""
    return iclevr.read(folder)
