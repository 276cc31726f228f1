"""The Fréchet distance between two sets of features, each taken for a normal distribution.

Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982; with the
features of an Inception network it is the FID (Heusel et al. 2017, arXiv:1706.08500).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation import jackknife


@dataclass(frozen=True)
class Normal:
    """Mean (D,) and covariance (D, D) in float64, the latter with N - 1 below."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


class Moments:
    """Mean and covariance of features that come in batches; it keeps (D, D), not the features."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._scatter: NDArray[np.float64] = np.zeros((0, 0))

    def add(self, features: NDArray[np.floating]) -> None:
        """Take in (N, D) features. Raises `LockstepError` if one is not a finite number.

        Two sets' moments make those of their union: Chan, Golub & LeVeque, "Updating formulae and
        a pairwise algorithm for computing sample variances", 1979.
        """
        if len(features) == 0:
            return
        exact = np.asarray(features, np.float64)
        if not np.isfinite(exact).all():
            raise LockstepError("a Fréchet distance wants finite features; some image gave NaN")
        mean = exact.mean(0)
        scatter = (exact - mean).T @ (exact - mean)
        if self.count == 0:
            self.count, self._mean, self._scatter = len(exact), mean, scatter
            return
        total = self.count + len(exact)
        apart = mean - self._mean
        self._scatter += scatter + np.outer(apart, apart) * (self.count * len(exact) / total)
        self._mean += apart * (len(exact) / total)
        self.count = total

    def normal(self) -> Normal:
        """Raises `LockstepError` if there were fewer than 2 features."""
        if self.count < 2:
            raise LockstepError(
                f"a Fréchet distance wants 2 images or more in each set, not {self.count}; draw "
                "or collect more"
            )
        return Normal(self._mean, self._scatter / (self.count - 1))


def frechet_distance(one: Normal, other: Normal) -> float:
    """The squared distance, 0 or more.

    It grows as the sets get smaller: compare only metrics from sets of the same sizes.

    Raises
    ------
    LockstepError
        If they are of features of different lengths.
    """
    if one.mean.shape != other.mean.shape:
        raise LockstepError(
            f"a Fréchet distance wants features of one length, not {len(one.mean)} and "
            f"{len(other.mean)}; evaluate.reference names another network's statistics"
        )
    return _distance(one, other, _root(one.covariance))


def frechet_error(features: NDArray[np.floating], other: Normal) -> float | None:
    """The standard error of the distance of (N, D) features, `other` being taken for given.

    None where N is too small to know it: fewer than 40.
    """
    group = jackknife.groups(len(features))
    exact = np.asarray(features, np.float64)
    exact = exact - (middle := exact.mean(0))
    scatter = exact.T @ exact
    root = _root(other.covariance)
    distances = []
    for one in range(group.max() + 1 if group.any() else 0):
        part = exact[group == one]
        count = len(exact) - len(part)
        mean = -part.sum(0) / count  # of the rest: together they are 0
        rest = scatter - part.T @ part - count * np.outer(mean, mean)
        distances.append(_distance(other, Normal(middle + mean, rest / (count - 1)), root))
    return jackknife.standard_error(distances)


def _distance(one: Normal, other: Normal, root: NDArray[np.float64]) -> float:
    """`root` is that of the covariance of `one`."""
    # |m - m'|^2 + tr(C + C' - 2 (C^(1/2) C' C^(1/2))^(1/2)): with the square root of C inside, the
    # product is symmetric, so that its eigenvalues are real, also where C is singular.
    eigenvalues = np.linalg.eigvalsh(root @ other.covariance @ root).clip(min=0)
    apart = float(((one.mean - other.mean) ** 2).sum())
    spread = float(np.trace(one.covariance) + np.trace(other.covariance))
    return max(0.0, apart + spread - 2 * float(np.sqrt(eigenvalues).sum()))


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
