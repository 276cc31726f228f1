"""A new workload from a folder of one's own images: a look at it, and a section for params.yaml."""

from __future__ import annotations

import math
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path, PurePosixPath
from statistics import median
from typing import IO, Any

from lockstep.config.captioned import METADATA, TRAIN, has_captions, has_texts
from lockstep.config.classes import check_names, classes_of
from lockstep.config.embedded import Embedded, look
from lockstep.config.schema import SHARED, Condition
from lockstep.core import parquet_images, tables
from lockstep.core.errors import LockstepError
from lockstep.core.formats import ENDINGS, is_hidden

_SIDES = (64, 32, 16)
_MOST = 2**26  # bytes of a file that are read to know its size in pixels
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz")
_IN_AN_ARCHIVE = 100  # images, at a guess
_MEASURED = 200  # images at most whose size is read
_RULES = {"max_aspect": 2.0, "min_contrast": 12.0, "duplicate_bits": 24}
_OF_FOLDERS = {TRAIN, *METADATA, "objects.json"}
_OF_PATHS = ("type", "paths", "sha256")
_EVALUATOR_STEPS = 300  # at least, of training the evaluator
_MOST_EPOCHS = 60
_STEPS = 600  # of training the generator
# By epochs, a set of a hundred images would draw a grid every few steps.
_GRIDS = {"grid_every_epochs": None, "grid_every_steps": _STEPS // 4}

FACES: dict[str, Any] = {
    **{"detector": "hog", "megapixels": None, "size": 64},
    **{"min_box": 80.0, "max_slope": 0.1, "eye_ratio": [0.37, 0.51], "nose": [0.3, 0.7]},
    **{"max_outside": 0.2, "min_sharpness": 35.0, "max_cover": 15.0, "max_tint": 65.0},
    **{"min_score": 0.2, "duplicate_bits": 32},
}
"""How the faces in photographs are found and which are kept: see params.yaml."""


@dataclass(frozen=True)
class Contents:
    """What a folder or an archive has in it.

    `condition` is `prompts` with sentences for the images, `labels` with i-CLEVR's files,
    `classes` with a sub-folder of images for each, else `none`.
    """

    condition: Condition
    count: int  # of images
    side: int | None  # the shorter one of the median image, in pixels; None if none can be read
    classes: dict[str, int]  # images of each
    archives: int = 0  # of unknown contents


def inspect_images(path: Path) -> Contents:
    """What is at a path.

    Raises `LockstepError` if there is nothing, no image, or classes that cannot be told apart or
    learnt.
    """
    embedded = look(path)
    names = _names(path, embedded)
    if path.is_dir() and has_captions(path, names):
        return Contents("prompts", *_counted(path), {})
    if embedded.has_text:
        if path.is_dir() and (others := _images(_in_folder(path))):
            raise LockstepError(
                f"{path / others[0]}: lies beside Parquet files with sentences; move one of the two"
            )
        return Contents("prompts", embedded.captioned(), _side(path, [], embedded), {})
    if path.is_dir():
        if (path / "objects.json").exists() and (path / "train.json").exists():
            return Contents("labels", *_counted(path), {})
        taken = {name.parts[0] for name in embedded.layouts}
        inside = (folder for folder in sorted(path.iterdir()) if folder.name not in taken)
        empty = [folder for folder in inside if _is_without_images(folder)]
        if names and empty:
            raise LockstepError(f"{empty[0]}: no image in it; remove the folder, or add some")
    elif (said := _OF_FOLDERS & {name.name for name in names}) or has_texts(set(names)):
        which = min(said, default="a .txt beside the images")
        raise LockstepError(
            f"{path}: sentences and labels ({which}) are read from a folder; unpack it"
        )
    found = _contents(path, names, embedded)
    classes = _classes(path, _images(names))
    return replace(found, condition="classes", classes=classes) if classes else found


def inspect_photos(path: Path) -> Contents:
    """What is at a path, whatever its folders are called.

    Raises `LockstepError` if there is nothing, or neither an image nor an archive.
    """
    names = _names(path, look(path))
    count = len(_images(names))
    archives = sum(name.suffix.lower() in _ARCHIVES for name in names)
    if not count + archives:
        raise LockstepError(f"{path}: no image in it ({', '.join(ENDINGS)}); name another one")
    return Contents("none", count, None, {}, archives)


def section_of_faces(contents: Contents, path: str, sha256: str) -> dict[str, Any]:
    """A section for the faces in photographs, with parameters as `section_of` chooses them."""
    contents = replace(contents, count=contents.count + _IN_AN_ARCHIVE * contents.archives)
    source = {"type": "photos", "paths": [path], "sha256": [sha256], **FACES}
    shared: dict[str, Any] = {name: {} for name in SHARED}
    overrides = _overrides(contents)
    overrides["dataset"]["evaluator"] = 0.0  # dlib's embedding has nothing to learn
    overrides["evaluator"] = {"type": "dlib"}
    return {"source": source, "condition": "none", **_GRIDS, **shared, **overrides}


def is_table(path: Path) -> bool:
    """Whether it is a table of addresses, by its ending, or a folder with such tables.

    A folder with images or archives is none.
    """
    if not tables.files(path):
        return False  # without a walk through a folder of images
    others = (*ENDINGS, *_ARCHIVES)
    if path.is_dir() and any(name.suffix.lower() in others for name in _in_folder(path)):
        return False
    return not look(path)


def section_of_addresses(
    count: int, path: str, sha256: str, column: str, text: str | None
) -> dict[str, Any]:
    """A section for `count` images that a table has the addresses of, 64 pixels wide.

    With a column `text` it has sentences for them, too.
    """
    condition: Condition = "none" if text is None else "prompts"
    section = section_of(Contents(condition, count, None, {}), path, sha256)
    source = {name: section["source"][name] for name in section["source"] if name not in _OF_PATHS}
    crawl = {"table": path, "table_sha256": sha256, "column": column, "text_column": text}
    return {**section, "source": {"type": "addresses", **source}, "crawl": crawl}


def section_of(contents: Contents, path: str, sha256: str) -> dict[str, Any]:
    """A workload's section with parameters that fit what was seen; quick ones, for two cores."""
    size = next((side for side in _SIDES if side <= (contents.side or _SIDES[0])), _SIDES[-1])
    source: dict[str, Any] = {"type": "folder", "paths": [path], "sha256": [sha256], "size": size}
    if contents.condition in ("none", "classes"):
        source |= {"min_side": size, **_RULES}
    shared: dict[str, Any] = {name: {} for name in SHARED}
    own = {"source": source, "condition": contents.condition, **_GRIDS}
    return {**own, **shared, **_overrides(contents)}


def _overrides(contents: Contents) -> dict[str, dict[str, Any]]:
    validation, share = (0.05, 0.3) if contents.count >= 100 else (0.1, 0.4)
    learnt = max(1, int(contents.count * share * 0.9))
    batch = max(2, min(32, learnt // 4))
    views = 4 if contents.condition == "none" else 1  # a rotation's evaluator sees each four times
    epochs = math.ceil(_EVALUATOR_STEPS * batch / (learnt * views))
    kinds = {"none": "rotation", "prompts": "scenes"}
    trained_on = int(contents.count * (1 - share - validation))
    return {
        "dataset": {"validation": validation, "evaluator": share},
        "evaluator": {
            "type": kinds.get(contents.condition, "classifier"),
            "epochs": min(epochs, _MOST_EPOCHS),
            "batch_size": batch,
        },
        "train": {
            "steps": _STEPS,
            "batch_size": max(1, min(32, trained_on // 2)),  # the rules leave some images out
            "flip": contents.condition in ("none", "classes"),
        },
        "sample": {"guidance_scale": 1.0 if contents.condition == "none" else 2.0, "seeds": [0]},
        "sweep": {"samplers": []},
    }


def _contents(path: Path, names: list[PurePosixPath], embedded: Embedded) -> Contents:
    """Of the files with these names, without a condition."""
    images = _images(names)
    if not images:
        raise LockstepError(f"{path}: no image in it ({', '.join(ENDINGS)}); name another one")
    return Contents("none", len(images), _side(path, images, embedded), {})


def _names(path: Path, embedded: Embedded) -> list[PurePosixPath]:
    """The files in a folder or an archive, but hidden ones; and the images in Parquet files."""
    if not path.exists():
        raise LockstepError(f"{path}: no such file or folder; name one with images")
    if path.is_dir():
        own = [name for name in _in_folder(path) if name not in embedded.layouts]
        return own + embedded.names()
    return embedded.names() if embedded else _in_archive(path)


def _in_folder(path: Path) -> list[PurePosixPath]:
    found = (Path(folder, name) for folder, _, files in os.walk(path) for name in files)
    names = (PurePosixPath(file.relative_to(path).as_posix()) for file in found)
    return sorted(name for name in names if not is_hidden(name))


def _in_archive(path: Path) -> list[PurePosixPath]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found = [PurePosixPath(name) for name in archive.namelist()]
        else:
            with tarfile.open(path) as tar:
                found = [PurePosixPath(member.name) for member in tar if member.isfile()]
        return sorted(name for name in found if not is_hidden(name))
    except Exception as error:  # The libraries raise whatever a damaged file leads them to.
        # tarfile tells of each way that it tried.
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise LockstepError(
            f"{path}: no folder, and no zip or tar that can be read ({reason}); name another one"
        ) from None


def _is_without_images(folder: Path) -> bool:
    if not folder.is_dir() or is_hidden(PurePosixPath(folder.name)):
        return False
    return not _images(_in_folder(folder))


def _images(names: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    return [name for name in names if name.suffix.lower() in ENDINGS]


def _counted(path: Path) -> tuple[int, int | None]:
    images = _images(_in_folder(path))
    if not images:
        raise LockstepError(f"{path}: no image in it ({', '.join(ENDINGS)}); add them")
    return len(images), _side(path, images, Embedded(path, {}))


def _side(path: Path, images: list[PurePosixPath], embedded: Embedded) -> int | None:
    """Of some images, evenly spread; None if none of them can be read."""
    from lockstep.core.decoding import size_of

    some = images[:: max(1, len(images) // _MEASURED)]
    sides = []
    of_rows: Iterator[Callable[[], IO[bytes]]]
    of_rows = (partial(BytesIO, data) for data in embedded.some())
    for opened in chain(of_rows, _files(path, some)):
        try:
            with opened() as file:
                sides.append(min(size_of(file.read(_MOST))))
        except Exception:  # Whatever a bomb, a secret or a damaged member raises: collecting says.
            continue
    return int(median(sides)) if sides else None


def _files(path: Path, names: list[PurePosixPath]) -> Iterator[Callable[[], IO[bytes]]]:
    """What opens each of these files of a folder or an archive, one after the other."""
    wanted = set(names)
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                yield partial(_bytes_of, path / name)
    elif path.suffix.lower() == parquet_images.ENDING:
        return  # its images are no files
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if PurePosixPath(info.filename) in wanted:
                    yield partial(archive.open, info)
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and PurePosixPath(member.name) in wanted:
                    yield partial(_member, tar, member)


def _bytes_of(path: Path) -> IO[bytes]:
    return path.open("rb")


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None  # only of what is no regular file
    return file


def _classes(path: Path, images: Iterable[PurePosixPath]) -> dict[str, int]:
    """Images of each class; empty where they lie in one folder."""
    try:
        found = classes_of([name.as_posix() for name in images])
        if found is None:
            return {}
        check_names(found)
    except LockstepError as error:
        raise LockstepError(f"{path}: {error}") from None
    counts = Counter(found)
    for name in sorted(counts):
        if counts[name] < 2:
            raise LockstepError(
                f"{path}: the class {name!r} has one image; add some, or remove its folder"
            )
    return dict(sorted(counts.items()))
