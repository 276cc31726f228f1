from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.errors import LockstepError
from lockstep.evaluation.frechet import frechet_distance

RNG = np.random.default_rng(0)


def features(
    mean: NDArray[np.float64], root: NDArray[np.float64], count: int = 200
) -> NDArray[np.float64]:
    """Rows whose mean and covariance (`root @ root.T`) are exactly these."""
    rows = RNG.standard_normal((count, len(mean)))
    rows -= rows.mean(0)
    rows @= np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return rows @ root.T + mean


def test_of_normal_distributions_whose_axes_agree() -> None:
    """|m - m'|^2 + sum of (s - s')^2, s being the deviations along the axes."""
    ours = features(np.array([1.0, 2.0, 3.0]), np.diag([1.0, 2.0, 3.0]))
    theirs = features(np.array([1.0, 0.0, 6.0]), np.diag([2.0, 2.0, 0.5]), count=300)
    assert frechet_distance(ours, theirs) == pytest.approx(4 + 9 + 1 + 6.25)


def test_of_any_normal_distributions() -> None:
    """By the matrix root of the plain formula, from the eigenvalues of the product itself."""
    roots = [RNG.standard_normal((5, 5)) for _ in range(2)]
    ours, theirs = (features(np.zeros(5), root) for root in roots)
    one, other = (root @ root.T for root in roots)
    shared = np.sqrt(np.linalg.eigvals(one @ other).real).sum()
    expected = np.trace(one) + np.trace(other) - 2 * shared
    assert frechet_distance(ours, theirs) == pytest.approx(expected)
    assert frechet_distance(theirs, ours) == pytest.approx(expected)


@pytest.mark.parametrize("count", [2, 20, 500])  # fewer than dimensions too: singular
def test_equal_sets_are_not_apart(count: int) -> None:
    rows = RNG.standard_normal((count, 64)).astype(np.float32)
    assert frechet_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + 1) == pytest.approx(64)


def test_one_dimension() -> None:
    rows = RNG.standard_normal((50, 1))
    assert frechet_distance(rows, 3 * rows) == pytest.approx(
        4 * (rows.var(ddof=1) + rows.mean() ** 2)
    )


def test_what_has_no_distance_is_refused() -> None:
    rows = RNG.standard_normal((10, 4))
    with pytest.raises(LockstepError, match="2 pictures or more in each set, not 1"):
        frechet_distance(rows, rows[:1])
    broken = rows.copy()
    broken[3, 2] = np.nan
    with pytest.raises(LockstepError, match="finite"):
        frechet_distance(broken, rows)
