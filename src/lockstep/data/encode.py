"""What a generator sees instead of pixels, made of a packed data set, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.arrays import mapped_array
from lockstep.core.pixels import to_tensor
from lockstep.data.dataset import LATENTS, Dataset
from lockstep.models.autoencoder import Autoencoder, Pixels

_BATCH = 64


def write_latents(
    out: Path,
    autoencoder: Autoencoder,
    data: Dataset,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> None:
    """Write the latents of all images, in order, into `out`; nothing where pixels are diffused.

    Of several processes each encodes its share of the batches; all of them have to call this.
    """
    if isinstance(autoencoder, Pixels):
        return
    count, side = len(data.images), data.images.shape[1] // autoencoder.reduction
    path = out / LATENTS
    if distributed.is_main():
        mapped_array(path, np.float16, (count, autoencoder.channels, side, side)).flush()
    distributed.wait()
    packed = np.load(path, mmap_mode="r+")
    own = distributed.share(-(-count // _BATCH))
    start, stop = own.start * _BATCH, min(own.stop * _BATCH, count)
    batches = encode_all(autoencoder, data.images[start:stop])
    for batch in progress(batches, own.stop - own.start):
        packed[start : start + len(batch)] = batch
        start += len(batch)
    packed.flush()
    distributed.wait()


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
