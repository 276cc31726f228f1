"""Standard errors: how far a metric would be off if other images had been generated.

The delete-a-group jackknife (Kott, "The Delete-a-Group Jackknife", Journal of Official Statistics
17, 2001): what is a metric without one part of the images after another? It takes no image twice,
as a bootstrap does: an image would be its own nearest neighbour, and covariances lose rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

GROUPS = 20
_LEAST = 2  # images of a group


class Estimate(NamedTuple):
    """A metric and its standard error; None: too few images to know one."""

    value: float
    error: float | None

    def named(self, name: str) -> dict[str, float]:
        """As metrics: `<name>`, and `<name>_se` if it is known."""
        known = {} if self.error is None else {f"{name}_se": self.error}
        return {name: self.value, **known}


def groups(count: int) -> NDArray[np.int64]:
    """(N,) which of 20 groups each of N images is in, at random, always the same.

    Of fewer than 40 images all are in group 0, and no metric has an error.
    """
    if count < _LEAST * GROUPS:
        return np.zeros(count, np.int64)
    return np.random.default_rng(0).permutation(count) % GROUPS


def standard_error(without: ArrayLike) -> float | None:
    """From the (G,) values of a metric without each group: sqrt((G - 1) / G sum (x - mean)^2).

    None if there are fewer than two.
    """
    values = np.asarray(without, np.float64)
    if len(values) < 2:
        return None
    return float(np.sqrt((len(values) - 1) * values.var()))


def of_mean(values: ArrayLike) -> Estimate:
    """The mean of (N,) values, one an image, and its error s / sqrt(N)."""
    each = np.asarray(values, np.float64)
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None
    return Estimate(float(each.mean()), error)


def standard_errors(
    metrics: Callable[[NDArray[np.int64]], Mapping[str, float]], count: int, names: Sequence[str]
) -> dict[str, float]:
    """`{"<name>_se": error}` of some of the metrics of N images, where they have one.

    `metrics` gets the places of those images, some of 0 ... N-1, that are not left out.
    """
    group = groups(count)
    if not group.any():
        return {}
    without = [metrics(np.flatnonzero(group != one)) for one in range(GROUPS)]
    errors = {
        name: standard_error([one[name] for one in without])
        for name in names
        if all(name in one for one in without)
    }
    return {f"{name}_se": error for name, error in errors.items() if error is not None}
