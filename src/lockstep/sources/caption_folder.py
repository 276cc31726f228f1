"""A folder of images with sentences: `train_info.json`, `test.json` and the images."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core.processes import cores, progress
from lockstep.sources.captions import packing
from lockstep.sources.captions.folder import import_folder
from lockstep.sources.folders.read import Looking
from lockstep.sources.registry import Collected, Found, said_of, verified_folder


def collect(params: Params, out: Path) -> Found:
    """Bring the folder in.

    Raises
    ------
    LockstepError
        If it is not the one of params.yaml, or a file is missing or wrong.
    """
    settings, folder = verified_folder(params)
    looking = Looking(settings.size, params.download.max_pixels)
    import_folder(folder, out, looking, cores(), progress("read images", "image"))
    return Found(said_of(params))


def read(folder: Path) -> Collected:
    """See `lockstep.sources.captions.packing.read`."""
    return packing.read(folder)
