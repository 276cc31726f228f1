"""The Fréchet distance between two sets of features, each taken for a normal distribution.

Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982; with the
features of an Inception network it is the FID (Heusel et al. 2017, arXiv:1706.08500).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import LockstepError


def frechet_distance(features: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """The squared distance, 0 or more, of (N, D) and (M, D) features, in float64.

    It grows as the sets get smaller: compare only figures from sets of the same sizes.

    Raises
    ------
    LockstepError
        If a set has fewer than 2 rows, or a feature is not a finite number.
    """
    mean, covariance = _normal(features)
    other_mean, other_covariance = _normal(others)
    # |m - m'|^2 + tr(C + C' - 2 (C^(1/2) C' C^(1/2))^(1/2)): with the square root of C inside, the
    # product is symmetric, so that its eigenvalues are real, also where C is singular.
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ other_covariance @ root).clip(min=0)
    apart = float(((mean - other_mean) ** 2).sum())
    spread = float(np.trace(covariance) + np.trace(other_covariance))
    return max(0.0, apart + spread - 2 * float(np.sqrt(eigenvalues).sum()))


def _normal(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,) and covariance (D, D), the latter with N - 1 below."""
    if len(features) < 2:
        raise LockstepError(
            f"a Fréchet distance wants 2 pictures or more in each set, not {len(features)}; draw "
            "or collect more"
        )
    exact = np.asarray(features, np.float64)
    if not np.isfinite(exact).all():
        raise LockstepError("a Fréchet distance wants finite features; some picture gave NaN")
    return exact.mean(0), np.atleast_2d(np.cov(exact, rowvar=False))
