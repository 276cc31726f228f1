"""The kernel distance between two sets of features; with an Inception network's it is the KID.

Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (arXiv:1801.01401).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation import jackknife
from lockstep.evaluation.jackknife import Estimate

_ROWS = 1024


def kernel_distance(features: NDArray[np.floating], others: NDArray[np.floating]) -> Estimate:
    """The unbiased squared MMD of (N, D) and (M, D) features, k(x, y) = (x y / D + 1)^3.

    From all pairs, not from random subsets; unbiased also for few features, and so it can come out
    a little below 0. The error is that of the first set; the other one is taken for given.

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
    group = jackknife.groups(n)
    members = np.eye(group.max() + 1)[group]
    within = between = within_others = 0.0
    among = np.zeros((members.shape[1], members.shape[1]))  # each group with each
    across = np.zeros(members.shape[1])  # each group with the other set
    for rows, block in _blocks(x, x):
        within += float(block.sum())
        among += members[rows].T @ (block @ members)
    for rows, block in _blocks(x, y):
        between += float(block.sum())
        across += members[rows].T @ block.sum(1)
    for _, block in _blocks(y, y):
        within_others += float(block.sum())
    itself, others_themselves = (_kernel((one * one).sum(1), one.shape[1]) for one in (x, y))
    of_others = (within_others - float(others_themselves.sum())) / (m * (m - 1))
    value = (within - float(itself.sum())) / (n * (n - 1)) + of_others - 2 * between / (n * m)
    if not group.any():
        return Estimate(value, None)
    left = n - members.sum(0)
    rest = among.sum() - among.sum(0) - among.sum(1) + among.diagonal()
    rest -= itself.sum() - members.T @ itself
    without = rest / (left * (left - 1)) - 2 * (across.sum() - across) / (left * m)
    return Estimate(value, jackknife.standard_error(without))


def _blocks(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        yield rows, _kernel(x[rows] @ y.T, x.shape[1])


def _kernel(products: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    return (products / dimensions + 1) ** 3
