"""What a generator sees instead of pixels and labels, made of a packed data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.data import captions
from lockstep.data.dataset import Dataset
from lockstep.data.latents import encode_all
from lockstep.models.autoencoder import Autoencoder, Pixels
from lockstep.models.text import SCRATCH, pretrained, tokenizer

_BATCH = 64


def latents(
    autoencoder: Autoencoder,
    data: Dataset,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Iterable[NDArray[np.float16]] | None:
    """Batches of all images' latents, in order; None where pixels are what is diffused."""
    if isinstance(autoencoder, Pixels):
        return None
    batches = -(-len(data.images) // _BATCH)
    return progress(encode_all(autoencoder, data.images, _BATCH), batches)


def write_rows(params: Params, data: Dataset, out: Path) -> None:
    """Write what each distinct prompt is to the generator, the empty one first, as `rows.npy`.

    Word ids (P, L), and the tokeniser beside them; or a frozen encoder's contexts (P, L, D) as
    float16. The words are those of the images that the generator is trained on.

    Raises
    ------
    LockstepError
        If the prompts cannot be read, or the encoder not be had.
    """
    prompts = captions.distinct_prompts(data.folder)
    settings = params.text
    if settings.encoder != SCRATCH:
        clip = pretrained.given(settings.encoder, settings.encoder_sha256)
        shape = (len(prompts), clip.length, clip.width)
        found = np.lib.format.open_memmap(out / "rows.npy", "w+", np.float16, shape)
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
    np.save(out / "rows.npy", words.encode(prompts))


def decided(params: Params) -> dict[str, Any]:
    """The values that decided it, where there is anything to decide."""
    latent = params.autoencoder.kind != "pixels"
    sections = [*(["autoencoder"] if latent else []), *(["text"] if params.reads_text else [])]
    return params.values(*sections)
