"""i-CLEVR's label files: which objects there are, which an image shows, which are asked for.

`objects.json` maps object names to ids, `train.json` file names to object names; `test.json` and
`new_test.json` are lists of object-name lists. A file name ends in `_<k>.png`, where k counts the
objects added to a scene so far: images of one scene share the name up to there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError

PROMPT_FILES = ("test", "new_test")
LABEL_FILES = ("objects", "train", *PROMPT_FILES)


@dataclass(frozen=True)
class Labels:
    """The four label files, validated against each other."""

    objects: dict[str, int]
    train: dict[str, list[str]]
    test: list[list[str]]
    new_test: list[list[str]]

    def write(self, folder: Path) -> None:
        for name in LABEL_FILES:
            text = json.dumps(getattr(self, name)) + "\n"
            (folder / f"{name}.json").write_text(text, "utf-8")


def scene_of(file_name: str) -> str:
    """The scene that an image belongs to: its file name up to the last underscore."""
    return file_name.rpartition("_")[0] or file_name


def multi_hot(names: Iterable[Sequence[str]], objects: dict[str, int]) -> NDArray[np.uint8]:
    """Lists of object names -> (N, len(objects)) of zeros and ones."""
    rows = list(names)
    hot = np.zeros((len(rows), len(objects)), np.uint8)
    for row, row_names in zip(hot, rows, strict=True):
        row[[objects[name] for name in row_names]] = 1
    return hot


def speaks_of_sides(objects: Iterable[str]) -> bool:
    """Whether a label is about left or right, so that it is wrong of a mirrored image."""
    return any(word in ("left", "right") for name in objects for word in name.lower().split())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        files = ", ".join(f"{name}.json" for name in LABEL_FILES)
        raise LockstepError(f"{path}: missing; an i-CLEVR folder has {files}") from None
    except (ValueError, RecursionError) as error:
        raise LockstepError(f"{path}: not valid JSON: {error}") from None


def some(items: Sequence[str], limit: int = 10) -> str:
    """The first few of many, for a message of one line."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def read_objects(path: Path) -> dict[str, int]:
    """`objects.json`: every name once, ids 0 .. n-1. Raises `LockstepError`."""
    objects = _read_json(path)
    if (
        not isinstance(objects, dict)
        or not objects
        or any(type(number) is not int for number in objects.values())  # not 1.0, nor true
        or sorted(objects.values()) != list(range(len(objects)))
    ):
        raise LockstepError(f"{path}: must map each object name to its id, 0 to one below count")
    return objects


def read_prompts(path: Path, objects: dict[str, int]) -> list[list[str]]:
    """`test.json` or `new_test.json`: lists of known object names. Raises `LockstepError`."""
    prompts = _read_json(path)
    if not isinstance(prompts, list) or not prompts:
        raise LockstepError(f"{path}: must be a list of lists of object names")
    _check_names(path, {str(i): names for i, names in enumerate(prompts)}, objects)
    return prompts


def _check_names(path: Path, rows: dict[str, Any], objects: dict[str, int]) -> None:
    for key, names in rows.items():
        strings = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not strings or not names or len(set(names)) < len(names):
            raise LockstepError(f"{path}: {key}: must be a list of distinct object names")
    unknown = sorted({f"{n!r} ({key})" for key, ns in rows.items() for n in ns if n not in objects})
    if unknown:
        raise LockstepError(f"{path}: objects that objects.json does not know: {some(unknown)}")


def read_labels(folder: Path) -> Labels:
    """All four label files of a folder. Raises `LockstepError` on the first that is wrong."""
    objects = read_objects(folder / "objects.json")
    train = _read_json(folder / "train.json")
    if not isinstance(train, dict) or not train:
        raise LockstepError(f"{folder / 'train.json'}: must map file names to object-name lists")
    for name in train:
        if Path(name).name != name:
            raise LockstepError(f"{folder / 'train.json'}: {name!r}: must be a bare file name")
    _check_names(folder / "train.json", train, objects)
    prompts = {name: read_prompts(folder / f"{name}.json", objects) for name in PROMPT_FILES}
    return Labels(objects, train, **prompts)
