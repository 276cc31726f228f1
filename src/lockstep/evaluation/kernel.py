"""Kernel distances between two sets of features: KID, by an Inception network's, and CMMD.

Bińkowski et al., "Demystifying MMD GANs", ICLR 2018 (arXiv:1801.01401). Jayasumana et al.,
"Rethinking FID: Towards a Better Evaluation Metric for Image Generation", CVPR 2024
(arXiv:2401.09603).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation import jackknife
from lockstep.evaluation.jackknife import Estimate

_ROWS = 1024
_SIGMA, _SCALE = 10.0, 1000.0
# Products x y (N, M) -> the kernel's values.
_Kernel: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def kernel_distance(features: NDArray[np.floating], others: NDArray[np.floating]) -> Estimate:
    """The unbiased squared MMD of (N, D) and (M, D) features, k(x, y) = (x y / D + 1)^3.

    From all pairs, not from random subsets; unbiased also for few features, and so it can come out
    a little below 0. The error is that of the first set; the other one is taken for given.

    Raises
    ------
    LockstepError
        If a set has fewer than 2 rows.
    """
    dimensions = features.shape[1]

    def cubed(products: NDArray[np.float64]) -> NDArray[np.float64]:
        base = products / dimensions + 1
        return base * base * base  # `**` takes several times as long

    return _squared_mmd(features, others, cubed)


def cmmd(embeddings: NDArray[np.floating], others: NDArray[np.floating]) -> Estimate:
    """1000 times the squared MMD of (N, D) and (M, D) embeddings brought to length 1.

    k(x, y) = exp(-|x - y|^2 / 200), and each image is paired with itself too, as in the paper's
    own program. So it is never below 0, and has a bias that fades as 1 / N + 1 / M. The error is
    that of the first set.

    Raises
    ------
    LockstepError
        If a set has fewer than 2 rows.
    """
    x, y = (_unit(one) for one in (embeddings, others))
    # |x - y|^2 is 2 - 2 x y.
    found = _squared_mmd(
        x, y, lambda products: np.exp((products - 1) / _SIGMA**2), with_themselves=True
    )
    return Estimate(_SCALE * found.value, None if found.error is None else _SCALE * found.error)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    each = np.asarray(rows, np.float64)
    return each / np.linalg.norm(each, axis=1, keepdims=True)


def _squared_mmd(
    features: NDArray[np.floating],
    others: NDArray[np.floating],
    kernel: _Kernel,
    *,
    with_themselves: bool = False,
) -> Estimate:
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
    for rows, block in _blocks(x, x, kernel):
        within += float(block.sum())
        among += members[rows].T @ (block @ members)
    for rows, block in _blocks(x, y, kernel):
        between += float(block.sum())
        across += members[rows].T @ block.sum(1)
    for _, block in _blocks(y, y, kernel):
        within_others += float(block.sum())
    # What is left out of the sums, and of the number of a row's pairs.
    out = 0 if with_themselves else 1
    itself, others_themselves = (out * kernel((one * one).sum(1)) for one in (x, y))
    of_others = (within_others - float(others_themselves.sum())) / (m * (m - out))
    value = (within - float(itself.sum())) / (n * (n - out)) + of_others - 2 * between / (n * m)
    if not group.any():
        return Estimate(value, None)
    left = n - members.sum(0)
    rest = among.sum() - among.sum(0) - among.sum(1) + among.diagonal()
    rest -= itself.sum() - members.T @ itself
    without = rest / (left * (left - out)) - 2 * (across.sum() - across) / (left * m)
    return Estimate(value, jackknife.standard_error(without))


def _blocks(
    x: NDArray[np.float64], y: NDArray[np.float64], kernel: _Kernel
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        yield rows, kernel(x[rows] @ y.T)
