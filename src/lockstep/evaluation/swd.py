"""The sliced Wasserstein distance over Laplacian pyramids: how far two sets of images are apart.

Karras et al., "Progressive Growing of GANs", ICLR 2018 (arXiv:1710.10196), section 5: at each
scale, small patches of both sets are compared along random directions. It needs no trained
network. Patches are cut at the same random places in both sets, so that equal sets are 0 apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation.jackknife import Estimate, of_mean

# As in the paper and its code.
_COARSEST = 16  # pixels
_PATCH = 7
_PATCHES = 128  # an image
_ROUNDS, _DIRECTIONS = 4, 128
_OF_ERROR = 32  # directions of each round, of which the error is estimated
_BINS = 1024  # of the values along a direction, each of which has one influence


def sliced_wasserstein(
    images: NDArray[np.uint8], others: NDArray[np.uint8], *, seed: int = 0
) -> Estimate:
    """The distance of (N, H, W, 3) and as many others: mean over the scales, times 1000.

    Its error is how far it would be off with other `images`; the others are taken as given. Some
    550 KB of memory are needed for each image of 64 x 64.

    Raises
    ------
    LockstepError
        If the sets differ in number or size, or there is no image or one too small for a patch.
    """
    if images.shape != others.shape or len(images) == 0 or min(images.shape[1:3]) < _PATCH:
        raise LockstepError(
            "swd: wants two sets of as many images of one size, at least "
            f"{_PATCH} pixels; there are {images.shape} and {others.shape}"
        )
    random = np.random.default_rng(seed)
    scales = zip(_laplacian_pyramid(images), _laplacian_pyramid(others), strict=True)
    distances, influences = zip(*(_at_one_scale(a, b, random) for a, b in scales), strict=True)
    error = of_mean(1000 * np.mean(influences, axis=0)).error
    return Estimate(1000 * float(np.mean(distances)), error)


def _laplacian_pyramid(images: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """From fine to coarse, what is lost from one scale to the next; last, what is left."""
    level = images.astype(np.float32)
    while min(level.shape[1:3]) >= 2 * _COARSEST:
        size = (level.shape[2], level.shape[1])
        smaller = np.stack([cv2.pyrDown(image) for image in level])
        yield level - np.stack([cv2.pyrUp(image, dstsize=size) for image in smaller])
        level = smaller
    yield level


def _at_one_scale(
    level: NDArray[np.float32], other: NDArray[np.float32], random: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """The distance, and the influence (N,) of each image of `level` on it."""
    count, height, width, _ = level.shape
    tops = random.integers(height - _PATCH + 1, size=(count, _PATCHES))
    lefts = random.integers(width - _PATCH + 1, size=(count, _PATCHES))
    ours, theirs = (_descriptors(one, tops, lefts) for one in (level, other))
    distances, influences = [], []
    for _ in range(_ROUNDS):
        directions = random.standard_normal((ours.shape[1], _DIRECTIONS), np.float32)
        directions /= np.linalg.norm(directions, axis=0)
        # A row for each direction: what is sorted lies together.
        projected, other_projected = directions.T @ ours.T, directions.T @ theirs.T
        some = projected[:_OF_ERROR].copy()
        # In one dimension the best transport is from the smallest to the smallest, and so on.
        for one in (projected, other_projected):
            one.sort(axis=1)
        for values, a, b in zip(some, projected, other_projected, strict=False):
            influences.append(_influences(values, a, b).reshape(count, -1).mean(1))
        projected -= other_projected
        distances.append(np.abs(projected, out=projected).mean())
    return float(np.mean(distances)), np.mean(influences, axis=0)


def _influences(
    values: NDArray[np.float32], ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How much more of each of (N,) `values` would move their distance, up to a constant.

    The distance is the integral of abs(F - G) over t, F being the share of `ours` (these values,
    sorted) below t, and G that of `theirs`. More of a value x adds to F where t is above x: the
    distance grows by the integral of the sign of F - G from there on. That is its influence
    function, whose spread over the images gives the error (the infinitesimal jackknife: Efron,
    "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, chapter 6).
    """
    least, most = min(ours[0], theirs[0]), max(ours[-1], theirs[-1])
    if least == most:
        return np.zeros(len(values))
    bin_width = (most - least) / _BINS
    middles = least + bin_width * (np.arange(_BINS) + 0.5)
    above = np.sign(np.searchsorted(ours, middles) - np.searchsorted(theirs, middles))
    beyond = bin_width * np.cumsum(above[::-1])[::-1]
    bins = ((values - least) / bin_width).astype(np.int32)
    return beyond[np.minimum(bins, _BINS - 1)]


def _descriptors(
    level: NDArray[np.float32], tops: NDArray[np.int64], lefts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(N * patches, 3 * 7 * 7): patches at these places, each colour of mean 0, deviation 1."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (_PATCH, _PATCH), axis=(1, 2))
    patches = windows[np.arange(len(level))[:, None], tops, lefts]
    axes = (0, 1, 3, 4)
    patches -= patches.mean(axes, np.float64, keepdims=True).astype(np.float32)
    variance = np.square(patches).mean(axes, np.float64, keepdims=True)
    patches /= np.maximum(np.sqrt(variance), 1e-6).astype(np.float32)
    return patches.reshape(len(level) * _PATCHES, -1)
