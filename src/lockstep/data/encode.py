"""What a generator sees instead of pixels, made of a packed data set, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.data.dataset import Dataset
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
    return progress(encode_all(autoencoder, data.images), -(-len(data.images) // _BATCH))


def encode_all(
    autoencoder: Autoencoder, images: NDArray[np.uint8], batch_size: int = _BATCH
) -> Iterator[NDArray[np.float16]]:
    """(N, H, W, 3) bytes, memory-mapped or not -> batches (B, C, h, w), in order.

    Latents are stored as float16: half the size, and at unit variance its rounding (one part in
    2048) is far below what an autoencoder loses. Pixels as latents come back to the byte.
    """
    for start in range(0, len(images), batch_size):
        # A copy: of a mapped file, which may not be written to, torch wants to make no tensor.
        batch = to_tensor(np.array(images[start : start + batch_size])).to(hardware.device())
        yield autoencoder.encode(batch).cpu().numpy().astype(np.float16)
