"""Whole data sets of latents, a batch at a time, so that size costs no memory.

Latents are stored as float16: half the size, and at unit variance its rounding (one part in 2048)
is far below what an autoencoder loses. Pixels as latents come back to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.models.autoencoder.interface import Autoencoder


def encode_all(
    autoencoder: Autoencoder, images: NDArray[np.uint8], batch_size: int = 64
) -> Iterator[NDArray[np.float16]]:
    """(N, H, W, 3) bytes, memory-mapped or not -> batches (B, C, h, w), in order."""
    for start in range(0, len(images), batch_size):
        # A copy: of a mapped file, which may not be written to, torch wants to make no tensor.
        batch = to_tensor(np.array(images[start : start + batch_size])).to(hardware.device())
        yield autoencoder.encode(batch).cpu().numpy().astype(np.float16)
