"""Copies: drawn pictures that lie nearer to a training picture than training pictures do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import LockstepError
from lockstep.evaluation.rows import Rows

_ROWS = 1024
_ASKED = 2000


@dataclass(frozen=True)
class Copies:
    """How near drawn pictures come to those trained on.

    Parameters
    ----------
    share
        Of the drawn pictures, those nearer to a training picture than `threshold`.
    threshold
        What 1 in 100 training pictures is nearer than to another one.
    distances
        (N,) of each drawn picture to the nearest training picture: Euclidean.
    nearest
        (N,) which one that is.
    """

    share: float
    threshold: float
    distances: NDArray[np.float64]
    nearest: NDArray[np.int64]


def copies(drawn: Rows, training: Rows) -> Copies:
    """Compare (N, ...) with (M, ...): pictures or features, read in parts.

    The training set's own distances are those of 2,000 of its pictures, evenly spread, or of all.

    Raises
    ------
    LockstepError
        If there is no drawn picture, or fewer than 2 training pictures.
    """
    if len(drawn) == 0 or len(training) < 2:
        raise LockstepError(
            f"copies: wants drawn pictures and 2 of the training; there are {len(drawn)} and "
            f"{len(training)}"
        )
    # Small numbers lose fewer digits in the products below; distances stay the same.
    middle = np.asarray(training[:_ROWS], np.float32).mean(0).ravel()
    count = min(_ASKED, len(training))
    asked = np.linspace(0, len(training) - 1, count).round().astype(np.int64)
    own = np.stack([np.asarray(training[i]) for i in asked])
    _, apart = _nearest(own, training, middle, itself=asked)
    nearest, distances = _nearest(drawn, training, middle)
    threshold = float(np.quantile(apart, 0.01))
    return Copies(float((distances < threshold).mean()), threshold, distances, nearest)


def _nearest(
    queries: Rows,
    known: Rows,
    middle: NDArray[np.float32],
    itself: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each query's nearest of `known` and the distance; not the one at its place in `itself`."""
    found = np.zeros(len(queries), np.int64)
    distances = np.zeros(len(queries))
    for first, asked in _parts(queries, middle):
        best = np.full(len(asked), np.inf, np.float32)
        rows = found[first : first + len(asked)]
        for start, part in _parts(known, middle):
            # |a - b|^2 less |a|^2, which does not change which one is nearest.
            apart = (part * part).sum(1) - 2 * (asked @ part.T)
            if itself is not None:
                places = itself[first : first + len(asked)] - start
                here = np.flatnonzero((places >= 0) & (places < len(part)))
                apart[here, places[here]] = np.inf
            nearest = apart.argmin(1)
            value = apart[np.arange(len(asked)), nearest]
            better = value < best
            best[better] = value[better]
            rows[better] = start + nearest[better]
        # The difference of large numbers above has lost digits: the one found, exactly.
        for row, (one, i) in enumerate(zip(asked, rows, strict=True), first):
            other = np.asarray(known[int(i)], np.float32).ravel() - middle
            distances[row] = np.linalg.norm(one.astype(np.float64) - other)
    return found, distances


def _parts(rows: Rows, middle: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(rows), _ROWS):
        part = np.asarray(rows[start : start + _ROWS], np.float32)
        yield start, part.reshape(len(part), -1) - middle
