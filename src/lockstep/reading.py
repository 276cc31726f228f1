"""Prompts as a trained generator reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lockstep import generator
from lockstep.generator import FrozenConfig
from lockstep.labels import some
from lockstep.text import pretrained, tokenizer

TOKENIZER = "tokenizer.json"
# The parameter that names the encoder, and its value for one that is trained along.
ENCODER, SCRATCH = "text.encoder", "scratch"


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
        return contexts(description.params[ENCODER], prompts)
    return torch.from_numpy(tokenizer.load(folder / TOKENIZER).encode(prompts)).float()


def warnings(folder: Path, prompt: str) -> list[str]:
    """A line for each way in which the generator does not read the whole of a prompt."""
    description = generator.describe(folder)
    if isinstance(description.text, FrozenConfig):
        (cut,) = pretrained.load(description.params[ENCODER]).cut([prompt])
        return [f"the prompt is too long: its last {cut} tokens are left out"] if cut else []
    unread = tokenizer.load(folder / TOKENIZER).unread([prompt])
    found = []
    if unread.unknown:
        found.append(f"not among the training's words: {some(unread.unknown)}")
    if unread.cut:
        found.append(f"the prompt is too long: its last {len(unread.cut)} words are left out")
    return found


def contexts(encoder: str, prompts: Sequence[str]) -> Tensor:
    """(N, L, D) of a pretrained encoder, the empty prompt's all zero. Raises `LockstepError`."""
    found = torch.as_tensor(pretrained.load(encoder).encode(list(prompts)))
    for row, prompt in zip(found, prompts, strict=True):
        if not prompt.strip():
            row.zero_()
    return found
