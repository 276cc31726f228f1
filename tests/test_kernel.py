from __future__ import annotations

import numpy as np
import pytest
from cleanfid import fid as clean

from lockstep.core.errors import LockstepError
from lockstep.evaluation import jackknife, kernel

RNG = np.random.default_rng(0)


def kernel_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    return kernel.kernel_distance(ours, theirs).value


def test_it_is_what_clean_fid_gives() -> None:
    """With as many features in both sets, its random subset is all of them."""
    ours, theirs = RNG.standard_normal((60, 16)), RNG.standard_normal((60, 16)) + 0.3
    expected = clean.kernel_distance(ours, theirs, num_subsets=1)
    assert kernel_distance(ours, theirs) == pytest.approx(expected)


def test_by_hand() -> None:
    """k(x, y) = (x y + 1)^3 in one dimension; pairs of a feature with itself do not count."""
    ours, theirs = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0], [3.0]])
    within = 1.0  # 0 and 1
    theirs_within = (3**3 + 4**3 + 7**3) / 3
    between = (1 + 1 + 1 + 2**3 + 3**3 + 4**3) / 6
    assert kernel_distance(ours, theirs) == pytest.approx(within + theirs_within - 2 * between)


def test_it_has_no_bias() -> None:
    """Sets of one distribution are 0 apart in the mean, however small."""
    found = [
        kernel_distance(RNG.standard_normal((5, 3)), RNG.standard_normal((9, 3)))
        for _ in range(3000)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert kernel_distance(RNG.standard_normal((50, 3)), RNG.standard_normal((50, 3)) + 2) > 1


def test_parts_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = RNG.standard_normal((40, 4)), RNG.standard_normal((31, 4))
    whole = kernel_distance(ours, theirs)
    monkeypatch.setattr(kernel, "_ROWS", 7)
    assert kernel_distance(ours, theirs) == pytest.approx(whole)


def test_one_image_is_refused() -> None:
    with pytest.raises(LockstepError, match="2 images or more in each set, not 1"):
        kernel_distance(np.zeros((1, 4)), np.zeros((9, 4)))


def test_its_error_is_that_of_leaving_groups_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_ROWS", 16)
    ours, theirs = RNG.standard_normal((67, 5)), RNG.standard_normal((30, 5)) + 0.5
    group = jackknife.groups(67)
    without = [kernel_distance(ours[group != one], theirs) for one in range(20)]
    error = kernel.kernel_distance(ours, theirs).error
    assert error == pytest.approx(jackknife.standard_error(without))
    assert kernel.kernel_distance(ours[:39], theirs).error is None


def test_cmmd_is_the_papers() -> None:
    """Every pair counts, those of an image with itself too; directions alone count."""
    ours, theirs = RNG.standard_normal((7, 4)), RNG.standard_normal((5, 4)) + 1

    def mean(some: np.ndarray, others: np.ndarray) -> float:
        of_length_1 = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (some, others))
        x, y = of_length_1
        distances = ((x[:, None] - y[None]) ** 2).sum(2)
        return float(np.exp(-distances / (2 * 10**2)).mean())

    expected = 1000 * (mean(ours, ours) + mean(theirs, theirs) - 2 * mean(ours, theirs))
    assert kernel.cmmd(ours, theirs).value == pytest.approx(expected)
    assert kernel.cmmd(3 * ours, theirs).value == pytest.approx(expected)
    assert kernel.cmmd(ours, ours).value == pytest.approx(0, abs=1e-9)


def test_the_error_of_cmmd_is_that_of_leaving_groups_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_ROWS", 16)
    ours, theirs = RNG.standard_normal((67, 5)), RNG.standard_normal((30, 5)) + 0.5
    group = jackknife.groups(67)
    without = [kernel.cmmd(ours[group != one], theirs).value for one in range(20)]
    assert kernel.cmmd(ours, theirs).error == pytest.approx(jackknife.standard_error(without))
    assert kernel.cmmd(ours[:39], theirs).error is None
