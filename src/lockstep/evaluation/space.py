"""A space of features: a network, and what its features are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.pixels import to_tensor
from lockstep.evaluation.jackknife import Estimate
from lockstep.evaluation.rows import Rows

# Features (N, D) and (M, D) -> how far apart they are.
Distance: TypeAlias = Callable[[NDArray[np.floating], NDArray[np.floating]], Estimate]
# Batches of images (N, H, W, 3) -> their features (N, D), one after the other.
Embed: TypeAlias = Callable[[Iterable[NDArray[np.uint8]]], Iterator[NDArray[np.floating]]]


@dataclass(frozen=True)
class Space:
    """A network whose features say how alike images are; `batch` images at a time.

    `name` is as in `kid_<name>`, and `frechet` the name of the Fréchet distance in it; `distances`
    are those that only this space has, by name.
    """

    name: str
    frechet: str
    embed: Embed
    batch: int = 256
    distances: Mapping[str, Distance] = field(default_factory=dict)

    def features(self, images: Rows) -> Iterator[NDArray[np.floating]]:
        """The features of (N, H, W, 3) bytes, batch by batch.

        Several processes share each batch, and each gets all features.
        """
        starts = range(0, len(images), self.batch)
        batches = (images[start : start + self.batch] for start in starts)
        own = (batch[distributed.share(len(batch))] for batch in batches)
        for start, rows in zip(starts, self.embed(own), strict=True):
            count = min(self.batch, len(images) - start)
            yield distributed.gather(torch.from_numpy(rows), count).numpy()


def network_space(name: str, network: Callable[[torch.Tensor], torch.Tensor]) -> Space:
    """What the last layer of an evaluator sees, images (B, 3, H, W) -> (B, 512)."""

    def features(batch: NDArray[np.uint8]) -> torch.Tensor:
        return network(to_tensor(batch).to(hardware.device()))

    return Space(name, f"fd_{name}", batch_by_batch(features, 512))


def batch_by_batch(features: Callable[[NDArray[np.uint8]], torch.Tensor], dimensions: int) -> Embed:
    """A network's features (N, dimensions) of a batch (N, H, W, 3), as a `Space` wants them."""

    def embed(batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.floating]]:
        for batch in batches:
            if len(batch) == 0:
                yield np.empty((0, dimensions), np.float32)
                continue
            with torch.inference_mode():
                yield features(batch).float().cpu().numpy()

    return embed
