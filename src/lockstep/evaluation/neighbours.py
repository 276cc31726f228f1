"""Memorization: generated images that lie nearer to a training image than training images do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation.rows import Rows

_ROWS = 1024
_QUERIES = 2000


@dataclass(frozen=True)
class Memorization:
    """How near N generated images come to those trained on.

    `copied` (N,) are those nearer to a training image than `threshold`, or equal to one; 1 in 100
    training images is nearer than that to another one. `nearest` (N,) says which training image
    is the nearest to each, and `distances` (N,) how far that is: Euclidean.
    """

    copied: NDArray[np.bool_]
    threshold: float
    distances: NDArray[np.float64]
    nearest: NDArray[np.int64]


def memorization(generated: Rows, training: Rows, *, mirrored: bool = False) -> Memorization:
    """Compare (N, ...) with (M, ...): images or features, read in parts.

    With `mirrored`, images (N, H, W, C) are compared as they are and mirrored: the nearer counts.
    The training set's own distances are those of 2,000 of its images, evenly spread, or of all.

    Raises
    ------
    LockstepError
        If there is no generated image, or fewer than 2 training images.
    """
    if len(generated) == 0 or len(training) < 2:
        raise LockstepError(
            f"copies: wants generated images and 2 of the training; there are {len(generated)} and "
            f"{len(training)}"
        )
    middle = _middle(training)
    count = min(_QUERIES, len(training))
    chosen = np.linspace(0, len(training) - 1, count).round().astype(np.int64)
    own = np.stack([np.asarray(training[i]) for i in chosen])
    _, apart = _nearest(own, training, middle, mirrored, itself=chosen)
    nearest, distances = _nearest(generated, training, middle, mirrored)
    threshold = float(np.quantile(apart, 0.01))
    # Where training images are there twice, the threshold is 0: a copy is one all the same.
    copied = (distances < threshold) | (distances == 0)
    return Memorization(copied, threshold, distances, nearest)


def authentic(near: Memorization, training: Rows) -> NDArray[np.bool_]:
    """(N,) which generated images are not nearer to their nearest training image than that is to
    any other one: near a training image, but no nearer than one would be by chance.

    Alaa et al., "How Faithful is your Synthetic Data?", ICML 2022 (arXiv:2102.08921); the share of
    these is called AuthPct. It is 0 for copies, and 1 for images that look like none of the
    training. New images of the training's own distribution have a third to a half in few
    dimensions, for of two nearest neighbours each is often the other's, and more in many, where
    some images are the nearest of many others.
    """
    chosen, place = np.unique(near.nearest, return_inverse=True)
    middle = _middle(training)
    own = np.stack([np.asarray(training[i]) for i in chosen])
    _, apart = _nearest(own, training, middle, mirrored=False, itself=chosen)
    return near.distances > apart[place]


def _middle(training: Rows) -> NDArray[np.float32]:
    """Subtracted, it leaves distances as they are, and products of small numbers more exact."""
    return np.asarray(training[:_ROWS], np.float32).mean(0).ravel()


def _nearest(
    queries: Rows,
    known: Rows,
    middle: NDArray[np.float32],
    mirrored: bool,
    itself: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each query's nearest of `known` and the distance; not the one at its place in `itself`."""
    found = np.zeros(len(queries), np.int64)
    distances = np.full(len(queries), np.inf)
    for first in range(0, len(queries), _ROWS):
        batch = np.asarray(queries[first : first + _ROWS], np.float32)
        rows = slice(first, first + len(batch))
        left_out = None if itself is None else itself[rows]
        for one in (batch, batch[:, :, ::-1]) if mirrored else (batch,):
            nearest, apart = _nearest_of_a_batch(_flat(one, middle), known, middle, left_out)
            better = apart < distances[rows]
            distances[rows][better] = apart[better]
            found[rows][better] = nearest[better]
    return found, distances


def _nearest_of_a_batch(
    queries: NDArray[np.float32],
    known: Rows,
    middle: NDArray[np.float32],
    itself: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    best = np.full(len(queries), np.inf, np.float32)
    found = np.zeros(len(queries), np.int64)
    for start in range(0, len(known), _ROWS):
        part = _flat(known[start : start + _ROWS], middle)
        # |a - b|^2 less |a|^2, which does not change which one is nearest.
        apart = (part * part).sum(1) - 2 * (queries @ part.T)
        if itself is not None:
            places = itself - start
            here = np.flatnonzero((places >= 0) & (places < len(part)))
            apart[here, places[here]] = np.inf
        nearest = apart.argmin(1)
        value = apart[np.arange(len(queries)), nearest]
        better = value < best
        best[better] = value[better]
        found[better] = start + nearest[better]
    # The difference of large numbers above has lost digits: the one found, exactly.
    exact = [
        np.linalg.norm(one.astype(np.float64) - _flat(known[i : i + 1], middle)[0])
        for one, i in zip(queries, found.tolist(), strict=True)
    ]
    return found, np.array(exact)


def _flat(rows: NDArray[np.generic], middle: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows, np.float32).reshape(len(rows), -1) - middle
