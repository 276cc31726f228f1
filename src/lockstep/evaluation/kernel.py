"""The kernel distance between two sets of features; with an Inception network's it is the KID.

Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (arXiv:1801.01401).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError

_ROWS = 1024


def kernel_distance(features: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """The unbiased squared MMD of (N, D) and (M, D) features, k(x, y) = (x y / D + 1)^3.

    From all pairs, not from random subsets; unbiased also for few features, and so it can come out
    a little below 0.

    Raises
    ------
    LockstepError
        If a set has fewer than 2 rows.
    """
    n, m = len(features), len(others)
    if min(n, m) < 2:
        raise LockstepError(
            f"a kernel distance wants 2 images or more in each set, not {min(n, m)}; draw or "
            "collect more"
        )
    x, y = np.asarray(features, np.float64), np.asarray(others, np.float64)
    within = _sum(x, x) - _of_itself(x)
    within_others = _sum(y, y) - _of_itself(y)
    return within / (n * (n - 1)) + within_others / (m * (m - 1)) - 2 * _sum(x, y) / (n * m)


def _sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    starts = range(0, len(x), _ROWS)
    return sum(float(_kernel(x[s : s + _ROWS] @ y.T, x.shape[1]).sum()) for s in starts)


def _of_itself(x: NDArray[np.float64]) -> float:
    return float(_kernel((x * x).sum(1), x.shape[1]).sum())


def _kernel(products: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    return (products / dimensions + 1) ** 3
