"""Whether a folder says what its images show, by the names of its files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

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


def has_captions(names: Iterable[PurePosixPath]) -> bool:
    """Whether the files of a folder, by their paths in it, are images with sentences.

    They are if one of the tables is among them, or half of the images, at least, have a `.txt`
    beside them.
    """
    names = set(names)
    if not names.isdisjoint(map(PurePosixPath, (TRAIN, *METADATA))):
        return True
    images = [name for name in names if name.suffix.lower() in ENDINGS]
    described = sum(name.with_suffix(".txt") in names for name in images)
    return described > 0 and 2 * described >= len(images)
