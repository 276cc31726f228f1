"""The feature spaces in which sets of images are compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.data.dataset import Dataset
from lockstep.evaluation import imagenet, inception, vision
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.evaluation.kernel import cmmd
from lockstep.evaluation.space import Space, batch_by_batch


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
