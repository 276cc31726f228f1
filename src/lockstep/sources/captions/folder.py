"""A user's folder of images with sentences, brought into the project's form."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from lockstep.config.schema import Params
from lockstep.config.sources import Folder
from lockstep.core import processes
from lockstep.core.errors import LockstepError
from lockstep.core.processes import cores, in_order
from lockstep.data import captions
from lockstep.data.labels import some
from lockstep.sources.captions import forms
from lockstep.sources.captions.packing import read as read
from lockstep.sources.folders.read import ReadSettings, read_image
from lockstep.sources.registry import Found, Progress, said_of, verified_folder


def collect(params: Params, out: Path) -> Found:
    """Bring the folder in.

    Raises `LockstepError` if it is not the one of params.yaml, or a file is missing or wrong.
    """
    settings = params.source
    assert isinstance(settings, Folder)
    reading = ReadSettings(settings.size, params.download.max_pixels)
    bar = processes.progress("read images", "image")
    import_folder(verified_folder(params), out, reading, cores(), bar)
    return Found(said_of(params))


def import_folder(
    source: Path, out: Path, settings: ReadSettings, workers: int, progress: Progress
) -> None:
    """Bring a folder in, in any of the forms of `lockstep.sources.captions.forms`.

    The images may have any format that a merge takes. Each becomes an RGB PNG: upright, transparent
    parts white, the middle square, antialiased. Raises `LockstepError` that names the wrong row, or
    lists every missing or broken image.
    """
    found = forms.read(source)
    (out / captions.IMAGES).mkdir()
    task = partial(bring, settings=settings, out=out / captions.IMAGES)
    outcomes = progress(in_order(task, found.images, workers), len(found.train))
    bad = {name: why for name, why in zip(found.train, outcomes, strict=True) if why}
    if bad:
        listed = some([f"{name} ({why})" for name, why in bad.items()])
        said = f"{found.place}: {len(bad)} images of {found.by} are missing or broken: {listed}"
        if not found.may_lack or len(bad) == len(found.train):
            raise LockstepError(f"{said}; mend them, or remove their rows")
        print(f"{said}; they are left out", file=sys.stderr)
    train = {_png(name): prompts for name, prompts in found.train.items() if name not in bad}
    captions.write(out, train, found.test)


def bring(image: tuple[str, Path | bytes], *, settings: ReadSettings, out: Path) -> str:
    """Write an image, called so, of a file or its bytes; gives why that cannot be, or nothing."""
    name, source = image
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror or "unreadable"
    found = read_image(data, settings)
    if not found.broken:
        (out / _png(name)).write_bytes(found.png)
    return found.broken


def _png(name: str) -> str:
    return f"{captions.bare(name)}.png"
