"""Prompts as a trained generator reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lockstep import captions, generator, paths
from lockstep.generator import Description, FrozenConfig
from lockstep.labels import some
from lockstep.params import Params
from lockstep.prompts import SHOWN, STRIPS, Asked, Prompts
from lockstep.text import pretrained, tokenizer
from lockstep.text.pretrained import ClipText


def of_captions(params: Params) -> Asked:
    """The pictures that `test.json` asks for, each called by its id.

    Raises
    ------
    LockstepError
        If the file is not as it should be, or what reads prompts cannot be had.
    """
    asked = captions.read_test(paths.dataset(params.workload) / captions.TEST)
    asked_rows = rows(paths.model(params.workload), list(asked.values()))
    files = [captions.drawn(name) for name in asked]
    wanted = Prompts("test", asked_rows, files, shown=SHOWN)
    return Asked((wanted,), strips=asked_rows[:STRIPS], exactly=False)


def rows(folder: Path, prompts: Sequence[str]) -> Tensor:
    """N prompts for the generator in `folder`: word ids (N, L), or contexts (N, L, D); as floats.

    The empty prompt is a row of zeros.

    Raises
    ------
    LockstepError
        If a file is missing or damaged, or a pretrained encoder cannot be loaded.
    """
    description = generator.describe(folder)
    if isinstance(description.text, FrozenConfig):
        found = _encoder(description).encode(prompts)
        for row, prompt in zip(found, prompts, strict=True):
            if not prompt.strip():
                row.zero_()
        return found
    return torch.from_numpy(tokenizer.load(folder / tokenizer.FILE).encode(prompts)).float()


def warnings(folder: Path, prompt: str) -> list[str]:
    """A line for each way in which the generator does not read the whole of a prompt."""
    description = generator.describe(folder)
    if isinstance(description.text, FrozenConfig):
        (cut,) = _encoder(description).cut([prompt])
        return [f"the prompt is too long: its last {cut} tokens are left out"] if cut else []
    unread = tokenizer.load(folder / tokenizer.FILE).unread([prompt])
    found = []
    if unread.unknown:
        found.append(f"not among the training's words: {some(unread.unknown)}")
    if unread.cut:
        found.append(f"the prompt is too long: its last {len(unread.cut)} words are left out")
    return found


def _encoder(description: Description) -> ClipText:
    given = (description.params[f"text.{name}"] for name in ("encoder", "encoder_sha256"))
    return pretrained.given(*given)
