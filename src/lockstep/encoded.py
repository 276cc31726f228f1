"""What a generator sees instead of pixels and labels, made of a packed data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep import captioned, content, paths
from lockstep.autoencoder import Autoencoder, Pixels
from lockstep.autoencoder.latents import encode_all
from lockstep.dataset import Dataset
from lockstep.params import Params
from lockstep.text import SCRATCH, pretrained, tokenizer

_BATCH = 64


def latents(
    autoencoder: Autoencoder,
    data: Dataset,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Iterable[NDArray[np.float16]] | None:
    """Batches of all pictures' latents, in order; None where pixels are what is diffused."""
    if isinstance(autoencoder, Pixels):
        return None
    batches = -(-len(data.pictures) // _BATCH)
    return progress(encode_all(autoencoder, data.pictures, _BATCH), batches)


def rows(params: Params, data: Dataset, out: Path) -> NDArray[np.generic]:
    """What each distinct prompt of the training pictures is to the generator, the empty one first.

    Word ids (P, L), and the tokeniser in `out`; or a frozen encoder's contexts (P, L, D) as
    float16.

    Raises
    ------
    LockstepError
        If the prompts cannot be read, or the encoder not be had.
    """
    prompts = captioned.distinct_prompts(data.folder)
    settings = params.text
    if settings.encoder != SCRATCH:
        source = paths.folder_or_name(settings.encoder)
        if isinstance(source, Path):
            content.verify(source, settings.encoder_sha256, "text.encoder")
        return pretrained.load(source).encode(prompts).numpy().astype(np.float16)
    words = tokenizer.build(prompts, length=settings.length, min_count=settings.min_count)
    words.save(out / tokenizer.FILE)
    return words.encode(prompts)


def decided(params: Params) -> dict[str, Any]:
    """The values that decided it, where there is anything to decide."""
    latent = params.autoencoder.kind != "pixels"
    sections = [*(["autoencoder"] if latent else []), *(["text"] if params.reads_text else [])]
    return params.values(*sections)
