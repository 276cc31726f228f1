"""Drawn scenes of one or two objects, each with a sentence that is true of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lockstep.core.processes import in_order
from lockstep.data import captions
from lockstep.data.annotations import Annotations, ImageObject, write_annotations
from lockstep.sources.captions.test_prompts import asked, held_out
from lockstep.synthetic.raycaster import draw
from lockstep.synthetic.scenes import SIZES, sample_scene
from lockstep.synthetic.sentences import describe, in_words, seen

_SINGLES = 0.2
"""Share of the images with one object; the others have two."""
_DISTANCE = 0.8
"""Nearer than for three objects: a small one is to have enough pixels for its shape."""
_AT_ONCE = 16

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


class Drawn(NamedTuple):
    """An image's file name, its prompt, and what it shows."""

    name: str
    prompt: str
    seen: tuple[ImageObject, ...]


def render(
    out: Path,
    *,
    count: int,
    seed: int,
    size: int,
    supersample: int,
    processes: int,
    progress: Progress,
) -> None:
    """Draw `count` scenes into `images/`; write `train_info.json`, `test.json`, `annotations.json`.

    The new combinations of `test.json` (see `lockstep.sources.captions.test_prompts`) occur in no
    image. The result is a function of the numbers alone, not of `processes`.

    Raises
    ------
    LockstepError
        If the images are too few for what `test.json` asks for.
    """
    # A stream of its own: scene i is drawn from (seed, i).
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    new = held_out(rng)
    (out / captions.IMAGES).mkdir()
    work = partial(
        _draw_scenes,
        seed=seed,
        forbidden={frozenset(names) for names in new},
        size=size,
        supersample=supersample,
        folder=out / captions.IMAGES,
    )
    batches = [range(first, min(first + _AT_ONCE, count)) for first in range(0, count, _AT_ONCE)]
    results = (drawn for batch in in_order(work, batches, processes) for drawn in batch)
    images: list[Drawn] = list(progress(results, count))

    stated = asked([[one.name for one in image.seen] for image in images], new, rng)
    captions.write(
        out,
        {image.name: [image.prompt] for image in images},
        {name: in_words(what, rng) for name, what in stated.items()},
    )
    write_annotations(out, Annotations({image.name: image.seen for image in images}, stated))


def _draw_scenes(
    indices: Iterable[int],
    *,
    seed: int,
    forbidden: Collection[frozenset[str]],
    size: int,
    supersample: int,
    folder: Path,
) -> list[Drawn]:
    written = []
    for index in indices:
        # Neither the stream of the scene nor that of `render`.
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3, index)))
        scene = sample_scene(
            seed,
            index,
            count=1 if rng.random() < _SINGLES else 2,
            forbidden=forbidden,
            sizes=tuple(SIZES),
            distance=_DISTANCE,
        )
        name = f"scene_{index:06d}.png"
        (image,) = draw([scene], size=size, supersample=supersample)
        Image.fromarray(image).save(folder / name)
        written.append(Drawn(name, describe(scene, rng).text, seen(scene)))
    return written
