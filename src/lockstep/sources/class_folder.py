"""Folders and archives with a sub-folder of images for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lockstep.config.classes import check_names, classes_of
from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json, write_json
from lockstep.sources import image_folder
from lockstep.sources.folders.decide import KEPT
from lockstep.sources.registry import Collected, Found

CLASSES = "classes.json"
"""The class of each collected image, by its file's name."""


def collect(params: Params, out: Path) -> Found:
    """Merge as a set without classes is merged, and note the class of each image that is kept.

    Raises `LockstepError` as `merge_folders`; or if there are fewer than two classes, one has fewer
    than two images, or two differ in case only.
    """
    found, merged = image_folder.merge_folders(params, out)
    # Readmes and the like may lie anywhere.
    images = [
        (row.path, decision)
        for row, decision in zip(merged.rows, merged.decisions, strict=True)
        if row.measures is not None
    ]
    classes = classes_of([path for path, _ in images])
    if classes is None:
        raise LockstepError(
            f"{params.workload}.source: its images lie in one folder; give each class one of its "
            "own, or set condition: none"
        )
    kept = {
        f"{decision.number}.png": name
        for (_, decision), name in zip(images, classes, strict=True)
        if decision.what == KEPT
    }
    check_classes(classes, list(kept.values()))
    write_json(out / CLASSES, kept)
    return found


def read(folder: Path) -> Collected:
    """`images/<number>.png`, with a column for each class.

    Raises `LockstepError` if there is none, or their classes are missing.
    """
    images = image_folder.read(folder)
    classes = read_json(folder / CLASSES)
    names = sorted(set(classes.values()))
    columns = [names.index(classes[path.name]) for path in images.images]
    return replace(images, conditions=np.eye(len(names), dtype=np.uint8)[columns], names=names)


def check_classes(found: Sequence[str], kept: Sequence[str]) -> None:
    """Raise `LockstepError` if these classes, of the images found and of those kept, do not do."""
    names, counts = sorted(set(found)), Counter(kept)
    check_names(names)
    if len(names) < 2:
        raise LockstepError(
            f"source: one class only, {names[0]!r}; add another folder, or set condition: none"
        )
    for name in names:
        if counts[name] < 2:
            raise LockstepError(
                f"source: the class {name!r} has {counts[name]} usable images of "
                f"{found.count(name)}; add some (decisions.csv of a run without classes says why), "
                "or remove its folder"
            )
