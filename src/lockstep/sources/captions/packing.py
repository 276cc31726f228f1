"""A collected folder of captions, ready to be packed: a row for each image and prompt of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lockstep.data import captions
from lockstep.data.annotations import ANNOTATIONS
from lockstep.data.captions import distinct_prompts, shown_by_rows
from lockstep.data.labels import speaks_of_sides
from lockstep.sources.registry import Collected


def read(folder: Path) -> Collected:
    """`images/`, the caption files, and `annotations.json` if there is one; each image is a scene.

    An image with several prompts is there several times. Its condition is the number of the prompt
    among `distinct_prompts`. Raises `LockstepError` if a file is missing or wrong, or the
    annotations are not of these captions.
    """
    rows = captions.pairs(captions.read_train(folder / captions.TRAIN))
    test = captions.read_test(folder / captions.TEST)
    prompts = distinct_prompts(folder)
    number = {prompt: i for i, prompt in enumerate(prompts)}
    known = shown_by_rows(folder) is not None
    files = [captions.TRAIN, captions.TEST, *([ANNOTATIONS] if known else [])]
    return Collected(
        images=[folder / captions.IMAGES / name for name, _ in rows],
        groups=[captions.bare(name) for name, _ in rows],
        conditions=np.array([[number[prompt]] for _, prompt in rows], np.int32),
        # The prompts that are asked for too: whoever draws "left" must have learnt it.
        mirrorable=not speaks_of_sides(_words(text) for text in (*prompts, *test.values())),
        carried=[folder / name for name in files],
    )


def _words(text: str) -> str:
    """Without commas and the like: "on the left, a cube" speaks of left too."""
    return re.sub(r"\W+", " ", text)
