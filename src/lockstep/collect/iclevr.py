"""i-CLEVR: the label files, the official folder, and the rendered stand-in for it.

A collected folder has `images/*.png`, `objects.json` (object name -> id), `train.json` (file name
-> object names), `test.json` and `new_test.json` (lists of object-name lists). File names end in
`_<k>.png` where k counts the objects added to a scene so far: pictures of one scene share the
name up to there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lockstep.errors import LockstepError
from lockstep.pictures import read_rgb
from lockstep.standins.raycaster import draw
from lockstep.standins.scenes import COLOURS, SHAPES, sample_scene

PROMPT_FILES = ("test", "new_test")
LABEL_FILES = ("objects", "train", *PROMPT_FILES)

# The official files' sets by size: 72 labels in test.json, 84 in new_test.json.
TEST_SIZES = (1,) * 6 + (2,) * 12 + (3,) * 14
NEW_TEST_SIZES = (2,) * 12 + (3,) * 20


@dataclass(frozen=True)
class Labels:
    """The four label files, validated against each other."""

    objects: dict[str, int]
    train: dict[str, list[str]]
    test: list[list[str]]
    new_test: list[list[str]]

    def write(self, folder: Path) -> None:
        for name in LABEL_FILES:
            write_labels(folder, name, getattr(self, name))


def write_labels(folder: Path, name: str, value: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(value) + "\n", "utf-8")


def scene_of(file_name: str) -> str:
    """The scene that a picture belongs to: its file name up to the last underscore."""
    return file_name.rpartition("_")[0] or file_name


def multi_hot(names: Iterable[Sequence[str]], objects: dict[str, int]) -> NDArray[np.uint8]:
    """Lists of object names -> (N, len(objects)) of zeros and ones."""
    rows = list(names)
    hot = np.zeros((len(rows), len(objects)), np.uint8)
    for row, row_names in zip(hot, rows, strict=True):
        row[[objects[name] for name in row_names]] = 1
    return hot


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; an i-CLEVR folder has {_files()}") from None
    except ValueError as error:
        raise LockstepError(f"{path}: not valid JSON: {error}") from None


def _files() -> str:
    return ", ".join(f"{name}.json" for name in LABEL_FILES)


def _some(items: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def read_objects(path: Path) -> dict[str, int]:
    """`objects.json`: every name once, ids 0 .. n-1. Raises `LockstepError`."""
    objects = _read_json(path)
    if (
        not isinstance(objects, dict)
        or not objects
        or sorted(objects.values(), key=str) != sorted(range(len(objects)), key=str)
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
        if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
            raise LockstepError(f"{path}: {key}: must be a list of distinct object names")
    unknown = sorted({f"{n!r} ({key})" for key, ns in rows.items() for n in ns if n not in objects})
    if unknown:
        raise LockstepError(f"{path}: objects that objects.json does not know: {_some(unknown)}")


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


def _pictures_folder(folder: Path, train: dict[str, list[str]]) -> Path:
    """The official archive unpacks to `iclevr/`, some mirrors to `images/` or beside the JSON."""
    first = next(iter(train))
    for candidate in (folder / "images", folder / "iclevr", folder):
        if (candidate / first).is_file():
            return candidate
    raise LockstepError(f"{folder}: no picture {first} in it, nor in its images/ or iclevr/")


Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def import_folder(source: Path, out: Path, size: int, progress: Progress) -> None:
    """Bring an official i-CLEVR folder in: label files as they are, pictures at `size` x `size`.

    Raises
    ------
    LockstepError
        One line that lists every missing or broken picture, or names the wrong label.
    """
    labels = read_labels(source)
    pictures = _pictures_folder(source, labels.train)
    (out / "images").mkdir()

    def bring(name: str) -> str | None:
        try:
            Image.fromarray(read_rgb(pictures / name, size)).save(out / "images" / name)
        except LockstepError:
            return name
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = progress(pool.map(bring, labels.train), len(labels.train))
        bad = [name for name in outcomes if name is not None]
    if bad:
        raise LockstepError(f"{pictures}: {len(bad)} pictures missing or broken: {_some(bad)}")
    labels.write(out)


def render(
    out: Path, *, scenes: int, seed: int, size: int, supersample: int, progress: Progress
) -> None:
    """Draw `scenes` scenes, each with its first, first two and all three objects.

    The combinations in `new_test.json` occur in no picture, not even as a part of one.
    """
    objects = {f"{colour} {shape}": i for i, (shape, colour) in enumerate(_catalogue())}
    rng = np.random.default_rng([seed, 0])
    new_test = _draw_sets(NEW_TEST_SIZES, rng, list(objects))
    forbidden = _supersets({frozenset(names) for names in new_test}, list(objects))
    (out / "images").mkdir()

    task = partial(
        _render_scene,
        seed=seed,
        forbidden=forbidden,
        size=size,
        supersample=supersample,
        folder=out / "images",
    )
    # "spawn": a forked child of a process that has used threads may hang.
    with multiprocessing.get_context("spawn").Pool() as pool:
        drawn = list(progress(pool.imap(task, range(scenes), chunksize=16), scenes))
    train = {name: names for pictures in drawn for name, names in pictures}

    seen = iter(_shuffled([list(pictures[-1][1]) for pictures in drawn], rng))
    labels = Labels(objects, train, _test_sets(seen), new_test)
    labels.write(out)


def _catalogue() -> Iterator[tuple[str, str]]:
    return ((shape, colour) for shape in SHAPES for colour in COLOURS)


def _render_scene(
    index: int, *, seed: int, forbidden: set[frozenset[str]], size: int, supersample: int, folder: Path
) -> list[tuple[str, list[str]]]:
    scene = sample_scene(seed, index, forbidden=forbidden)
    prefixes = [scene.prefix(k + 1) for k in range(len(scene.items))]
    written = []
    for k, picture in enumerate(draw(prefixes, size=size, supersample=supersample)):
        name = f"scene_{index:06d}_{k}.png"
        Image.fromarray(picture).save(folder / name)
        written.append((name, [item.name for item in prefixes[k].items]))
    return written


def _draw_sets(
    sizes: Sequence[int], rng: np.random.Generator, names: list[str]
) -> list[list[str]]:
    """Distinct sets of distinct objects, none of which contains another."""
    chosen: list[list[str]] = []
    for count in sizes:
        while True:
            candidate = [str(name) for name in rng.choice(names, count, replace=False)]
            if not any(set(other) <= set(candidate) for other in chosen):
                chosen.append(candidate)
                break
    return chosen


def _supersets(held_out: set[frozenset[str]], names: list[str]) -> set[frozenset[str]]:
    pairs = {combination for combination in held_out if len(combination) == 2}
    return held_out | {pair | {name} for pair in pairs for name in names}


def _shuffled(rows: list[list[str]], rng: np.random.Generator) -> list[list[str]]:
    return [rows[i] for i in rng.permutation(len(rows))]


def _test_sets(seen: Iterator[list[str]]) -> list[list[str]]:
    """Sets that do occur, of the official sizes: the first objects of scenes, all different."""
    chosen: list[list[str]] = []
    for count in TEST_SIZES:
        for names in seen:
            if set(names[:count]) not in map(set, chosen):
                chosen.append(names[:count])
                break
        else:
            raise LockstepError(
                f"scenes.count: too few scenes for test.json's {len(TEST_SIZES)} different "
                "combinations; raise it"
            )
    return chosen
