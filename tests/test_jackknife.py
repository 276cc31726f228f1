from __future__ import annotations

import numpy as np
import pytest

from lockstep.evaluation import jackknife
from lockstep.evaluation.jackknife import Estimate

RNG = np.random.default_rng(0)


def test_groups_are_as_large_as_each_other_and_always_the_same() -> None:
    assert set(np.bincount(jackknife.groups(107))) == {5, 6}
    assert np.array_equal(jackknife.groups(107), jackknife.groups(107))
    assert len(np.unique(jackknife.groups(40))) == 20
    assert not jackknife.groups(39).any()


def test_of_a_mean_it_is_the_classical_error() -> None:
    """With one image a group the jackknife's is s / sqrt(N) exactly."""
    each = RNG.standard_normal(20)
    without = [np.delete(each, i).mean() for i in range(20)]
    expected = each.std(ddof=1) / np.sqrt(20)
    assert jackknife.standard_error(without) == pytest.approx(expected)
    assert jackknife.of_mean(each).error == pytest.approx(expected)
    assert jackknife.of_mean([3.0]) == Estimate(3.0, None)
    assert jackknife.standard_error([1.0]) is None


def test_it_is_how_far_metrics_of_other_images_are() -> None:
    """Of a ratio, too: over 300 draws of 200 pairs, against their own spread."""
    found, errors = [], []
    for _ in range(300):
        hits, counts = RNG.poisson((3, 5), (200, 2)).T

        def ratio(kept: np.ndarray, hits: np.ndarray = hits, counts: np.ndarray = counts) -> dict:
            return {"ratio": hits[kept].sum() / counts[kept].sum(), "other": 1.0}

        found.append(ratio(np.arange(200))["ratio"])
        (error,) = jackknife.standard_errors(ratio, 200, ["ratio", "absent"]).values()
        errors.append(error)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(found), rel=0.15)
    assert jackknife.standard_errors(ratio, 39, ["ratio"]) == {}


def test_names() -> None:
    assert Estimate(2.0, 0.5).named("fid") == {"fid": 2.0, "fid_se": 0.5}
    assert Estimate(2.0, None).named("fid") == {"fid": 2.0}
