"""A collected folder of captions, ready to be packed: a row for each picture and prompt of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep import captions, truth
from lockstep.errors import LockstepError
from lockstep.labels import some, speaks_of_sides
from lockstep.truth import Arrays


@dataclass(frozen=True)
class Captioned:
    """What a folder of captions has.

    Parameters
    ----------
    pictures
        N files; a picture with several prompts is there several times.
    groups
        What each is a part of: a split has all of a group, or nothing of it.
    prompts
        The P distinct prompts, the empty one first.
    conditions
        (N, 1): the number of each row's prompt in `prompts`, 1 to P - 1; 0 is for no condition.
    mirrorable
        Whether the prompts still hold of a mirrored picture.
    shown
        What each row's picture shows, where that is known.
    carried
        Further files that are wanted beside the packed pictures.
    """

    pictures: Sequence[Path]
    groups: Sequence[str]
    prompts: Sequence[str]
    conditions: NDArray[np.int32]
    mirrorable: bool
    shown: Arrays | None
    carried: Sequence[Path]


def with_captions(folder: Path) -> Captioned:
    """`images/`, the caption files, and `truth.json` if there is one; each picture is a scene.

    Raises
    ------
    LockstepError
        If a file is missing or wrong, or the truth is not of these captions.
    """
    train = captions.read_train(folder / captions.TRAIN)
    test = captions.read_test(folder / captions.TEST)
    rows = captions.pairs(train)
    prompts = captions.distinct(prompt for _, prompt in rows)
    number = {prompt: i for i, prompt in enumerate(prompts)}
    shown = shown_by_rows(folder)
    files = [captions.TRAIN, captions.TEST, *([] if shown is None else [truth.FILE])]
    return Captioned(
        pictures=[folder / captions.IMAGES / name for name, _ in rows],
        groups=[captions.bare(name) for name, _ in rows],
        prompts=prompts,
        conditions=np.array([[number[prompt]] for _, prompt in rows], np.int32),
        # The prompts that are asked for too: whoever draws "left" must have learnt it.
        mirrorable=not speaks_of_sides(_words(text) for text in (*prompts, *test.values())),
        shown=shown,
        carried=[folder / name for name in files],
    )


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
