"""Precision, recall, density and coverage: are images like those of a reference, and all of those?

Each set is taken for a union of balls in a space of features: one around each image, as large as
its distance to the k-th nearest other image of its own set; balls include their surface.

    precision   share of the generated images in a ball of the reference
    recall      share of the reference in a ball of the generated images
    density     how many balls of the reference a generated image is in, over k: above 1 where they
                gather in crowded places
    coverage    share of the balls of the reference with a generated image in it

Precision and recall: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing
Generative Models", NeurIPS 2019 (arXiv:1904.06991), which has k = 3. Density and coverage: Naeem et
al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020 (arXiv:2002.09797),
which has k = 5 and computes all four. There are programs that call recall what is precision here:
precision falls when one generates what the reference does not show, recall when one generates less
of what it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation import jackknife
from lockstep.evaluation.jackknife import Estimate

_ROWS = 512
# Of a squared length: what is left of the distance of equal features is rounding.
_NOTHING = 1e-12

Array = NDArray[np.float64]


def enough(count: int, neighbours: int) -> bool:
    """Whether so many images have k others each, also where a group of them is left out."""
    group = jackknife.groups(count)
    return count - (int(np.bincount(group).max()) if group.any() else 0) > neighbours


def manifold_metrics(
    generated: NDArray[np.floating], reference: NDArray[np.floating], neighbours: int
) -> dict[str, Estimate]:
    """`precision`, `recall`, `density` and `coverage` of (M, D) and (N, D) features.

    All pairs are compared, in float64, 512 images of the reference at a time. The errors are those
    of the generated images; the reference is taken for given.

    Raises
    ------
    LockstepError
        If a set has no more than `neighbours` images, or loses too many where one of the groups
        for the standard error is left out.
    """
    for said, some in (("generated images", generated), ("images of the reference", reference)):
        if not enough(len(some), neighbours):
            raise LockstepError(
                f"evaluate.neighbours: {neighbours} is too many for {len(some)} {said}; lower it, "
                "or make more images"
            )
    middle = np.asarray(reference, np.float64).mean(0)
    theirs, ours = (np.asarray(some, np.float64) - middle for some in (reference, generated))
    group = jackknife.groups(len(ours))
    members = [np.flatnonzero(group == one) for one in range(group.max() + 1)]
    radii = _radii(theirs, neighbours, [np.arange(len(theirs))])[:, 0]
    own_radii = _radii(ours, neighbours, members)
    balls = np.zeros(len(ours), np.int64)  # of the reference, around each generated image
    reached = np.empty((len(theirs), len(members)), bool)  # by an image of each group
    recalled = np.empty((len(theirs), own_radii.shape[1]), bool)  # by all; without each group
    for rows in _parts(len(theirs)):
        apart = _apart(theirs[rows], ours)
        inside = apart <= radii[rows, None]
        balls += inside.sum(0)
        for one, own in enumerate(members):
            reached[rows, one] = inside[:, own].any(1)
        for one, of_each in enumerate(own_radii.T):
            recalled[rows, one] = (apart <= of_each).any(1)
    without = [np.delete(reached, one, axis=1).any(1).mean() for one in range(len(members))]
    return {
        "precision": jackknife.of_mean(balls > 0),
        "recall": Estimate(
            float(recalled[:, 0].mean()), jackknife.standard_error(recalled[:, 1:].mean(0))
        ),
        "density": jackknife.of_mean(balls / neighbours),
        "coverage": Estimate(float(reached.any(1).mean()), jackknife.standard_error(without)),
    }


def _radii(points: Array, neighbours: int, members: Sequence[NDArray[np.int64]]) -> Array:
    """(N, 1 + G) each point's squared distance to its k-th nearest other one.

    The first column is among all (N, D) points, the others are without one of G groups each, and
    -1 for these themselves; if there is a single group, there are no others.
    """
    groups = len(members) if len(members) > 1 else 0
    found = np.empty((len(points), 1 + groups))
    for rows in _parts(len(points)):
        apart = _apart(points[rows], points)
        apart[np.arange(len(apart)), np.arange(len(points))[rows]] = np.inf
        # The k nearest of each group: among them are the k nearest of any of the groups together.
        nearest = [_smallest(apart[:, own], neighbours) for own in members]
        found[rows, 0] = _smallest(np.hstack(nearest), neighbours).max(1)
        for one in range(groups):
            others = np.hstack(nearest[:one] + nearest[one + 1 :])
            found[rows, 1 + one] = _smallest(others, neighbours).max(1)
    for one in range(groups):
        found[members[one], 1 + one] = -1
    return found


def _smallest(rows: Array, count: int) -> Array:
    """The so many smallest values of each row, in any order; all if there are fewer."""
    if rows.shape[1] <= count:
        return rows
    return np.partition(rows, count - 1, axis=1)[:, :count]


def _apart(points: Array, others: Array) -> Array:
    """(N, M) squared distances; of equal points exactly 0."""
    lengths = (points * points).sum(1)[:, None]
    apart = (-2 * points) @ others.T
    apart += lengths
    apart += (others * others).sum(1)
    apart[apart < _NOTHING * lengths] = 0
    return apart


def _parts(count: int) -> Iterator[slice]:
    return (slice(first, min(first + _ROWS, count)) for first in range(0, count, _ROWS))
