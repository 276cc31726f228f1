"""Whether a folder says what its images show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lockstep.core import parquet_images, tables
from lockstep.core.errors import LockstepError
from lockstep.core.formats import ENDINGS

TRAIN = "train_info.json"
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Hugging Face's names of the table that has a sentence for each image."""
FILE_NAME = "file_name"
"""The column with the image's path."""
_TEXT = ("text", "caption", "text_prompt", "prompt")


def text_column(columns: Sequence[str]) -> str | None:
    """The column with the sentence; None if there is none."""
    return next((name for usual in _TEXT for name in columns if name.lower() == usual), None)


def metadata_of(folder: Path) -> Path | None:
    """The table in a folder that has sentences; None if there is none. Raises `LockstepError`."""
    for name in METADATA:
        path = folder / name
        if path.is_file() and text_column(tables.columns(path)) is not None:
            if path.suffix == parquet_images.ENDING and parquet_images.layout(path) is not None:
                continue  # the images themselves are in it
            return path
    return None


def _is_of_sentences(path: Path) -> bool:
    """Whether a table has them; one that cannot be read is somebody else's."""
    try:
        return text_column(tables.columns(path)) is not None
    except LockstepError:
        return False


def has_captions(folder: Path, names: Iterable[PurePosixPath]) -> bool:
    """Whether a folder, with files of these paths in it, has sentences for its images.

    It has with `train_info.json`, a table of sentences, or a `.txt` beside half of the images, at
    least. Raises `LockstepError` if a folder in it has such a table.
    """
    names = set(names)
    if PurePosixPath(TRAIN) in names or metadata_of(folder) is not None:
        return True
    for name in sorted(name for name in names if name.name in METADATA):
        if _is_of_sentences(folder / name):
            raise LockstepError(
                f"{folder / name}: has sentences for the images of its folder; name that one, "
                f"{folder / name.parent}"
            )
    return has_texts(names)


def has_texts(names: set[PurePosixPath]) -> bool:
    """Whether half of the images among these files, at least, have a `.txt` beside them."""
    images = [name for name in names if name.suffix.lower() in ENDINGS]
    described = sum(name.with_suffix(".txt") in names for name in images)
    return described > 0 and 2 * described >= len(images)
