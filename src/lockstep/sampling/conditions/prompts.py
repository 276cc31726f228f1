"""Prompts: each image shows what a sentence says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.data import captions
from lockstep.data.labels import some
from lockstep.models import generator
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, FrozenConfig
from lockstep.models.text import pretrained, tokenizer
from lockstep.models.text.pretrained import ClipText
from lockstep.sampling.targets import SHOWN, STRIPS, ImageSet, Targets


def targets(params: Params) -> Targets:
    """The images that `test.json` asks for, each called by its id.

    Raises `LockstepError` if the file is not as it should be, or what reads prompts cannot be had.
    """
    test_prompts = captions.read_test(paths.dataset(params.workload) / captions.TEST)
    conditions = read(paths.model(params.workload), list(test_prompts.values()))
    files = [captions.image_of(name) for name in test_prompts]
    images = ImageSet("test", conditions, files, shown=SHOWN)
    return Targets((images,), strips=conditions[:STRIPS], exactly=False)


def read(folder: Path, texts: Sequence[str | None]) -> Conditions:
    """Prompts for the generator in `folder`; no text, or one without a word, is no condition.

    The values are word ids (N, L), or contexts (N, L, D) of a frozen encoder. Raises
    `LockstepError` if a file is missing or damaged, or a pretrained encoder cannot be loaded.
    """
    description = generator.describe(folder)
    prompts = [text or "" for text in texts]
    given = torch.tensor([bool(prompt.strip()) for prompt in prompts], dtype=torch.bool)
    if isinstance(description.text, FrozenConfig):
        return Conditions(_encoder(description).encode(prompts), given)
    words = tokenizer.load(folder / tokenizer.FILE)
    return Conditions(torch.from_numpy(words.encode(prompts)), given)


def warnings(folder: Path, text: str | None) -> list[str]:
    """A line for each way in which the generator does not read the whole of a prompt."""
    description, prompt = generator.describe(folder), text or ""
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
    return pretrained.trained_with(description.params)
