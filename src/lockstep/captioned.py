"""A collected folder of captions, ready to be packed: a row for each picture and prompt of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lockstep import captions, truth
from lockstep.collected import Collected
from lockstep.errors import LockstepError
from lockstep.labels import some, speaks_of_sides
from lockstep.truth import Arrays


def with_captions(folder: Path) -> Collected:
    """`images/`, the caption files, and `truth.json` if there is one; each picture is a scene.

    A picture with several prompts is there several times. Its condition is the number of the prompt
    among `distinct_prompts`.

    Raises
    ------
    LockstepError
        If a file is missing or wrong, or the truth is not of these captions.
    """
    rows = captions.pairs(captions.read_train(folder / captions.TRAIN))
    test = captions.read_test(folder / captions.TEST)
    prompts = distinct_prompts(folder)
    number = {prompt: i for i, prompt in enumerate(prompts)}
    known = shown_by_rows(folder) is not None
    files = [captions.TRAIN, captions.TEST, *([truth.FILE] if known else [])]
    return Collected(
        pictures=[folder / captions.IMAGES / name for name, _ in rows],
        groups=[captions.bare(name) for name, _ in rows],
        conditions=np.array([[number[prompt]] for _, prompt in rows], np.int32),
        # The prompts that are asked for too: whoever draws "left" must have learnt it.
        mirrorable=not speaks_of_sides(_words(text) for text in (*prompts, *test.values())),
        carried=[folder / name for name in files],
    )


def distinct_prompts(folder: Path) -> list[str]:
    """The prompts of the training pictures, each once, the empty one first.

    Raises
    ------
    LockstepError
        If their file is missing or wrong.
    """
    train = captions.read_train(folder / captions.TRAIN)
    return captions.distinct(prompt for _, prompt in captions.pairs(train))


def shown_by_rows(folder: Path) -> Arrays | None:
    """What the picture of each row shows, also of the files that were carried; None if unknown.

    Raises
    ------
    LockstepError
        If a file is missing or wrong, or the truth is not of these captions.
    """
    found = truth.read(folder)
    if found is None:
        return None
    train = captions.read_train(folder / captions.TRAIN)
    test = captions.read_test(folder / captions.TEST)
    unknown = sorted({*train} - {*found.train}) + sorted({*test} - {*found.test})
    if unknown:
        raise LockstepError(
            f"{folder / truth.FILE}: nothing on {some(unknown)}; mend it, or remove the file: it "
            "is optional"
        )
    return truth.as_arrays([found.train[name] for name, _ in captions.pairs(train)])


def _words(text: str) -> str:
    """Without commas and the like: "on the left, a cube" speaks of left too."""
    return re.sub(r"\W+", " ", text)
