"""The feature spaces in which sets of images are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.pixels import to_tensor
from lockstep.data.dataset import Dataset
from lockstep.evaluation import imagenet, inception, vision
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.evaluation.jackknife import Estimate
from lockstep.evaluation.kernel import cmmd
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


def spaces_of(params: Params, data: Dataset) -> list[Space]:
    """The evaluator's space first; those of `evaluate.spaces`, and Inception's if `evaluate.fid`.

    Raises `LockstepError` if a network's weights are missing, damaged or another one's.
    """
    more = [_NAMED[name](params) for name in params.evaluate.spaces]
    if params.evaluate.fid:
        more.append(inception_space(params))
    return [evaluator_of(params).space(params, data), *more]


def imagenet_space(params: Params) -> Space:
    """A network that has learnt the classes of ImageNet: 1280 numbers."""
    model = imagenet.load(imagenet.weights())

    def features(batch: NDArray[np.uint8]) -> torch.Tensor:
        return model(imagenet.resized(batch).to(hardware.device()))

    embed = batch_by_batch(features, imagenet.DIMENSIONS)
    return Space("imagenet", "fd_imagenet", embed, batch=64)


def dinov2_space(params: Params) -> Space:
    """DINOv2's class token; of the default network 1024 numbers."""
    settings = params.evaluate
    network = vision.dinov2(settings.dinov2, settings.dinov2_sha256)
    embed = batch_by_batch(network.features, network.dimensions)
    return Space("dinov2", "fd_dinov2", embed, batch=32)


def clip_space(params: Params) -> Space:
    """CLIP's embeddings of images; of the default network 768 numbers."""
    settings = params.evaluate
    network = vision.clip(settings.clip, settings.clip_sha256)
    embed = batch_by_batch(network.features, network.dimensions)
    return Space("clip", "fd_clip", embed, batch=32, distances={"cmmd": cmmd})


# What `evaluate.spaces` names.
_NAMED: dict[str, Callable[[Params], Space]] = {
    "imagenet": imagenet_space,
    "dinov2": dinov2_space,
    "clip": clip_space,
}


def inception_space(params: Params) -> Space:
    """The network of the FID, through clean-fid: 2048 numbers."""
    model = inception.load(inception.weights(params))

    def features(batch: NDArray[np.uint8]) -> torch.Tensor:
        return model(inception.resized(batch).to(hardware.device()))

    # Its first layers take 5 MB an image.
    return Space("inception", "fid", batch_by_batch(features, 2048), batch=32)


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
