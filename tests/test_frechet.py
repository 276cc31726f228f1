from __future__ import annotations

import numpy as np
import pytest
from cleanfid import fid as clean
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg

from lockstep.core.errors import LockstepError
from lockstep.evaluation import frechet, jackknife
from lockstep.evaluation.frechet import Moments

RNG = np.random.default_rng(0)


def moments(*batches: NDArray[np.floating]) -> Moments:
    found = Moments()
    for batch in batches:
        found.add(batch)
    return found


def frechet_distance(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    return frechet.frechet_distance(moments(ours).normal(), moments(theirs).normal())


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
    with pytest.raises(LockstepError, match="2 images or more in each set, not 1"):
        frechet_distance(rows, rows[:1])
    broken = rows.copy()
    broken[3, 2] = np.nan
    with pytest.raises(LockstepError, match="finite"):
        frechet_distance(broken, rows)
    with pytest.raises(LockstepError, match="of one length, not 4 and 3"):
        frechet_distance(rows, rows[:, :3])


def test_it_is_what_clean_fid_and_the_formula_give() -> None:
    ours = RNG.standard_normal((300, 48)).astype(np.float32)
    theirs = (ours[::-1] @ RNG.standard_normal((48, 48)) / 5 + 0.3).astype(np.float32)
    found = frechet_distance(ours, theirs)
    assert found == pytest.approx(clean.fid_from_feats(ours, theirs), rel=1e-3)
    covariances = [np.cov(rows, rowvar=False) for rows in (ours, theirs)]
    apart = ours.mean(0, dtype=np.float64) - theirs.mean(0, dtype=np.float64)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = apart @ apart + np.trace(sum(covariances) - 2 * root)
    assert found == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_batches_do_not_matter(sizes: list[int], offset: float) -> None:
    rows = np.random.default_rng(len(sizes)).standard_normal((sum(sizes), 3)) + offset
    found = moments(*np.split(rows, np.cumsum(sizes)[:-1]))
    assert found.count == len(rows)
    if len(rows) < 2:
        with pytest.raises(LockstepError, match="2 images or more"):
            found.normal()
        return
    normal = found.normal()
    assert normal.mean == pytest.approx(rows.mean(0))
    assert normal.covariance == pytest.approx(np.cov(rows, rowvar=False), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("count", [47, 300])  # fewer than dimensions too
def test_its_error_is_that_of_leaving_groups_out(count: int) -> None:
    ours, theirs = RNG.standard_normal((count, 64)) + 3, RNG.standard_normal((200, 64)) * 2
    group = jackknife.groups(count)
    without = [frechet_distance(ours[group != one], theirs) for one in range(20)]
    error = frechet.frechet_error(ours.astype(np.float32), moments(theirs).normal())
    assert error == pytest.approx(jackknife.standard_error(without), rel=1e-4)
    assert frechet.frechet_error(ours[:39], moments(theirs).normal()) is None


def test_its_error_is_how_far_other_images_are_off() -> None:
    theirs = moments(RNG.standard_normal((500, 8))).normal()
    draws = [RNG.standard_normal((200, 8)) * 1.5 for _ in range(100)]
    spread = np.std([frechet.frechet_distance(moments(one).normal(), theirs) for one in draws])
    errors = [frechet.frechet_error(one, theirs) for one in draws]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.25)
