"""Rendered scenes of one or two objects, each with a sentence that is true of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lockstep.config.schema import Params
from lockstep.config.sources import Rendered
from lockstep.core import processes
from lockstep.core.processes import cores, in_order
from lockstep.data import captions
from lockstep.data.annotations import Annotations, ImageObject, write_annotations
from lockstep.sources.captions.packing import read as read
from lockstep.sources.captions.test_prompts import choose_prompts, held_out
from lockstep.sources.registry import Found, Progress, said_of
from lockstep.synthetic.raycaster import draw
from lockstep.synthetic.scenes import SIZES, sample_scene
from lockstep.synthetic.sentences import describe, in_words, objects_of

_SINGLES = 0.35
"""Share of the images with one object; the others have two."""
_DISTANCE = 0.75
"""Nearer than for three objects: a small one is to have enough pixels for its shape."""
_AT_ONCE = 16


class _Image(NamedTuple):
    name: str
    prompt: str
    objects: tuple[ImageObject, ...]


def collect(params: Params, out: Path) -> Found:
    """Render the images with their captions and annotations."""
    settings = params.source
    assert isinstance(settings, Rendered)
    render(settings, out, cores(), processes.progress("draw scenes", "image"))
    return Found(said_of(params))


def render(settings: Rendered, out: Path, workers: int, progress: Progress) -> None:
    """Render scenes into `images/`; write `train_info.json`, `test.json`, `annotations.json`.

    The new combinations of `test.json` (see `lockstep.sources.captions.test_prompts`) occur in no
    image. The result is a function of the settings alone, not of `workers`. Raises
    `LockstepError` if the images are too few for what `test.json` asks for.
    """
    # A stream of its own: scene i is drawn from (seed, i).
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(2,)))
    new = held_out(rng)
    (out / captions.IMAGES).mkdir()
    forbidden = {frozenset(names) for names in new}
    folder, count = out / captions.IMAGES, settings.count
    work = partial(_render_scenes, settings=settings, forbidden=forbidden, folder=folder)
    batches = [range(first, min(first + _AT_ONCE, count)) for first in range(0, count, _AT_ONCE)]
    results = (image for batch in in_order(work, batches, workers) for image in batch)
    images: list[_Image] = list(progress(results, count))

    contents = choose_prompts([[one.name for one in image.objects] for image in images], new, rng)
    prompts = {name: in_words(content, rng) for name, content in contents.items()}
    captions.write(out, {image.name: [image.prompt] for image in images}, prompts)
    write_annotations(out, Annotations({image.name: image.objects for image in images}, contents))


def _render_scenes(
    indices: Iterable[int],
    *,
    settings: Rendered,
    forbidden: Collection[frozenset[str]],
    folder: Path,
) -> list[_Image]:
    written = []
    for index in indices:
        # Neither the stream of the scene nor that of `render`.
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(3, index)))
        scene = sample_scene(
            settings.seed,
            index,
            count=1 if rng.random() < _SINGLES else 2,
            forbidden=forbidden,
            sizes=tuple(SIZES),
            distance=_DISTANCE,
        )
        name = f"scene_{index:06d}.png"
        (image,) = draw([scene], size=settings.size, supersample=settings.supersample)
        Image.fromarray(image).save(folder / name)
        written.append(_Image(name, describe(scene, rng).text, objects_of(scene)))
    return written
