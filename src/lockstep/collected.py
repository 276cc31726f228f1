"""Collected pictures, whatever they are of, ready to be packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.collect.folders.names import PICTURES
from lockstep.collect.names import CROPS
from lockstep.errors import LockstepError
from lockstep.labels import PROMPT_FILES, multi_hot, read_labels, scene_of, speaks_of_sides


@dataclass(frozen=True)
class Collected:
    """What a workload's folder of collected pictures has.

    Parameters
    ----------
    pictures
        N files.
    groups
        What each is a part of: a split has all of a group, or nothing of it.
    conditions
        (N, C) of zeros and ones; C is 0 where nothing is said of the pictures. Or (N, 1), the
        numbers of prompts, of which 0 is the empty one.
    mirrorable
        Whether the conditions still hold of a mirrored picture.
    carried
        Further files that are wanted beside the packed pictures.
    """

    pictures: Sequence[Path]
    groups: Sequence[str]
    conditions: NDArray[np.integer]
    mirrorable: bool
    carried: Sequence[Path]


def with_labels(folder: Path) -> Collected:
    """`images/` and i-CLEVR's label files; the pictures of a scene belong together.

    Raises
    ------
    LockstepError
        If a label file is missing or wrong.
    """
    labels = read_labels(folder)
    names = sorted(labels.train)
    return Collected(
        pictures=[folder / "images" / name for name in names],
        groups=[scene_of(name) for name in names],
        conditions=multi_hot([labels.train[name] for name in names], labels.objects),
        mirrorable=not speaks_of_sides(labels.objects),
        carried=[folder / f"{name}.json" for name in ("objects", *PROMPT_FILES)],
    )


def faces(folder: Path) -> Collected:
    """`crops/<picture>_<number>.png`; the faces of a picture belong together.

    Raises
    ------
    LockstepError
        If there is none.
    """
    files = sorted((folder / CROPS).glob("*.png"))
    if not files:
        raise LockstepError(f"{folder / CROPS}: no faces; `dvc repro crop` cuts them out")
    return _unlabelled(files, [file.stem.rpartition("_")[0] for file in files])


def merged(folder: Path) -> Collected:
    """`pictures/<number>.png`, no two of which belong together.

    Raises
    ------
    LockstepError
        If there is none.
    """
    files = sorted((folder / PICTURES).glob("*.png"), key=lambda file: int(file.stem))
    if not files:
        raise LockstepError(f"{folder / PICTURES}: no pictures; `dvc repro merge` collects them")
    return _unlabelled(files, [file.stem for file in files])


def _unlabelled(files: Sequence[Path], groups: Sequence[str]) -> Collected:
    return Collected(
        pictures=files,
        groups=groups,
        conditions=np.zeros((len(files), 0), np.uint8),
        mirrorable=True,
        carried=[],
    )
