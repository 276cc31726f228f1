"""What a generator sees instead of pixels and labels, made of a packed data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.data.dataset import Dataset
from lockstep.data.latents import encode_all
from lockstep.models.autoencoder import Autoencoder, Pixels

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
