"""Prompts as what a generator reads, each computed once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lockstep.config.schema import Params
from lockstep.core.arrays import mapped_array, save_array
from lockstep.data import captions
from lockstep.data.dataset import Dataset
from lockstep.models.text import SCRATCH, pretrained, tokenizer

_BATCH = 64


def write_rows(params: Params, data: Dataset, out: Path) -> None:
    """Write what each distinct prompt is to the generator, the empty one first, as `rows.npy`.

    Word ids (P, L), and the tokeniser beside them; or a frozen encoder's contexts (P, L, D) as
    float16. The words are those of the images that the generator is trained on. Raises
    `LockstepError` if the prompts cannot be read, or the encoder not be had.
    """
    prompts = captions.distinct_prompts(data.folder)
    settings = params.text
    if settings.encoder != SCRATCH:
        clip = pretrained.given(settings.encoder, settings.encoder_sha256)
        shape = (len(prompts), clip.length, clip.width)
        found = mapped_array(out / "rows.npy", np.float16, shape)
        for start in range(0, len(prompts), _BATCH):
            found[start : start + _BATCH] = clip.encode(prompts[start : start + _BATCH]).numpy()
        found.flush()
        return
    read = np.unique(data.conditions[data.indices("train"), 0])
    own = [prompts[number] for number in read]
    words = tokenizer.build(own, length=settings.length, min_count=settings.min_count)
    if cut := sum(1 for prompt in own if words.unread([prompt]).cut):
        print(
            f"{cut} of {len(own)} prompts are longer than text.length ({settings.length} words): "
            "their ends are not read",
            file=sys.stderr,
        )
    words.save(out / tokenizer.FILE)
    save_array(out / "rows.npy", words.encode(prompts))
