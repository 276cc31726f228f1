"""A user's folder of images with sentences, brought into the project's form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lockstep.config.schema import Params
from lockstep.config.sources import Folder
from lockstep.core import processes
from lockstep.core.errors import LockstepError
from lockstep.core.processes import cores, in_order
from lockstep.data import captions
from lockstep.data.labels import some
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
    """Bring a folder in: `train_info.json`, `test.json`, and the images that the first names.

    The images lie in the folder itself or in its only sub-folder that has any of them; they may
    have any format that a merge takes. Each becomes an RGB PNG: upright, transparent parts white,
    the middle square, antialiased. Raises `LockstepError` that names the wrong row, or lists every
    missing or broken image.
    """
    train = captions.read_train(source / captions.TRAIN)
    test = captions.read_test(source / captions.TEST)
    images = _images_folder(source, train)
    (out / captions.IMAGES).mkdir()
    bring = partial(_bring, settings=settings, source=images, out=out / captions.IMAGES)
    outcomes = progress(in_order(bring, train, workers), len(train))
    bad = [f"{name} ({why})" for name, why in zip(train, outcomes, strict=True) if why]
    if bad:
        raise LockstepError(
            f"{images}: {len(bad)} images of {captions.TRAIN} are missing or broken: "
            f"{some(bad)}; mend them, or remove their rows"
        )
    captions.write(out, {_png(name): prompts for name, prompts in train.items()}, test)


def _images_folder(folder: Path, train: Mapping[str, Any]) -> Path:
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    has_any = [path for path in (folder, *inner) if any((path / name).is_file() for name in train)]
    if not has_any:
        raise LockstepError(
            f"{folder}: none of the images of {captions.TRAIN} is in it, nor in a folder in it; "
            "put them there"
        )
    if has_any[0] != folder and len(has_any) > 1:
        names = some([path.name for path in has_any])
        raise LockstepError(
            f"{folder}: images of {captions.TRAIN} are in several folders ({names}); leave one"
        )
    return has_any[0]


def _bring(name: str, *, settings: ReadSettings, source: Path, out: Path) -> str:
    """Write an image; gives why that cannot be, or nothing."""
    try:
        data = (source / name).read_bytes()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror or "unreadable"
    image = read_image(data, settings)
    if not image.broken:
        (out / _png(name)).write_bytes(image.png)
    return image.broken


def _png(name: str) -> str:
    return f"{captions.bare(name)}.png"
