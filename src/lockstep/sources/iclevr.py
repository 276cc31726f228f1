"""i-CLEVR's images with labels: a folder in its form, or scenes that the ray-caster renders.

A collected folder has `images/*.png` and the label files (see `lockstep.data.labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lockstep.config.schema import Params
from lockstep.config.sources import Rendered
from lockstep.core import processes
from lockstep.core.errors import LockstepError
from lockstep.core.images import read_rgb
from lockstep.core.processes import cores, in_order
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.data.labels import (
    PROMPT_FILES,
    Labels,
    multi_hot,
    read_labels,
    scene_of,
    some,
    speaks_of_sides,
)
from lockstep.sources.registry import Collected, Found, Progress, said_of, verified_folder
from lockstep.synthetic.raycaster import draw
from lockstep.synthetic.scenes import sample_scene

# The official files' sets by size: 72 labels in test.json, 84 in new_test.json.
TEST_SIZES = (1,) * 6 + (2,) * 12 + (3,) * 14
NEW_TEST_SIZES = (2,) * 12 + (3,) * 20


def collect(params: Params, out: Path) -> Found:
    """Render the scenes, or bring the folder in.

    Raises `LockstepError` if the folder is not the one of params.yaml, or a file is missing or
    wrong.
    """
    settings = params.source
    if isinstance(settings, Rendered):
        render(settings, out, processes.progress("draw scenes", "scene"))
    else:
        folder = verified_folder(params)
        import_folder(folder, out, settings.size, processes.progress("read images", "image"))
    return Found(said_of(params))


def _images_folder(folder: Path, train: dict[str, list[str]]) -> Path:
    """The official archive unpacks to `iclevr/`, some mirrors to `images/` or beside the JSON."""
    for candidate in (folder / "images", folder / "iclevr", folder):
        if any((candidate / name).is_file() for name in train):
            return candidate
    raise LockstepError(
        f"{folder}: none of train.json's images is in it, nor in its images/ or iclevr/"
    )


def import_folder(source: Path, out: Path, size: int, progress: Progress) -> None:
    """Bring an official i-CLEVR folder in: label files as they are, images at `size` x `size`.

    Raises `LockstepError` that lists every missing or broken image, or names the wrong label.
    """
    labels = read_labels(source)
    images = _images_folder(source, labels.train)
    (out / "images").mkdir()

    def bring(name: str) -> str | None:
        try:
            Image.fromarray(read_rgb(images / name, size)).save(out / "images" / name)
        except (LockstepError, ValueError):  # ValueError: a name that is no image's
            return name
        return None

    with ThreadPoolExecutor(cores()) as pool:
        outcomes = progress(pool.map(bring, labels.train), len(labels.train))
        bad = [name for name in outcomes if name is not None]
    if bad:
        raise LockstepError(f"{images}: {len(bad)} images missing or broken: {some(bad)}")
    labels.write(out)


def render(settings: Rendered, out: Path, progress: Progress) -> None:
    """Render each scene with its first, first two and all three objects.

    The combinations in `new_test.json` occur in no image, not even as a part of one.
    """
    names = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]
    # A stream of its own: scene i is drawn from (seed, i).
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(1,)))
    new_test = _sample_sets(NEW_TEST_SIZES, rng, names)
    # All scenes have three objects: held-out threes are forbidden, and threes with a held-out pair.
    forbidden = {frozenset(chosen) for chosen in new_test}
    pairs = [chosen for chosen in forbidden if len(chosen) == 2]
    forbidden |= {pair | {name} for pair in pairs for name in names}
    (out / "images").mkdir()

    task = partial(_render_scene, settings=settings, forbidden=forbidden, folder=out / "images")
    scenes = settings.count
    rendered = list(progress(in_order(task, range(scenes), cores()), scenes))
    train = {name: shown for images in rendered for name, shown in images}
    test = _test_sets(rendered[i][-1][1] for i in rng.permutation(scenes))
    Labels({name: i for i, name in enumerate(names)}, train, test, new_test).write(out)


def _render_scene(
    index: int, *, settings: Rendered, forbidden: set[frozenset[str]], folder: Path
) -> list[tuple[str, list[str]]]:
    scene = sample_scene(settings.seed, index, forbidden=forbidden)
    prefixes = [scene.prefix(k + 1) for k in range(len(scene.items))]
    shown = []
    images = draw(prefixes, size=settings.size, supersample=settings.supersample)
    for k, image in enumerate(images):
        name = f"scene_{index:06d}_{k}.png"
        Image.fromarray(image).save(folder / name)
        shown.append((name, [item.name for item in prefixes[k].items]))
    return shown


def _sample_sets(
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


def _test_sets(scenes: Iterator[list[str]]) -> list[list[str]]:
    """Sets that do occur, of the official sizes: the first objects of scenes, all different."""
    chosen: list[list[str]] = []
    for count in TEST_SIZES:
        for names in scenes:
            if set(names[:count]) not in map(set, chosen):
                chosen.append(names[:count])
                break
        else:
            raise LockstepError(
                f"source.count: too few scenes for test.json's {len(TEST_SIZES)} different "
                "combinations; raise it"
            )
    return chosen


def read(folder: Path) -> Collected:
    """`images/` and i-CLEVR's label files; the images of a scene belong together.

    Raises `LockstepError` if a label file is missing or wrong.
    """
    labels = read_labels(folder)
    files = sorted(labels.train)
    return Collected(
        images=[folder / "images" / name for name in files],
        groups=[scene_of(name) for name in files],
        conditions=multi_hot([labels.train[name] for name in files], labels.objects),
        mirrorable=not speaks_of_sides(labels.objects),
        names=sorted(labels.objects, key=labels.objects.__getitem__),
        carried=[folder / f"{name}.json" for name in ("objects", *PROMPT_FILES)],
    )
