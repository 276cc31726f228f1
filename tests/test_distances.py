"""The metrics in one space of features: which there are, under which names."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.evaluation.distances import in_space
from lockstep.evaluation.frechet import frechet_distance
from lockstep.evaluation.reference import Statistics, statistics_of
from lockstep.evaluation.space import Space

RNG = np.random.default_rng(0)
SPACE = Space("colour", "fd_colour", iter)
NAMES = {
    "fd_colour",
    "kid_colour",
    "precision_colour",
    "recall_colour",
    "density_colour",
    "coverage_colour",
    "copies_colour",
    "authenticity_colour",
}


def features(count: int, scale: float = 1.0) -> Statistics:
    return statistics_of([scale * RNG.standard_normal((count, 3)).astype(np.float32)])


def test_each_metric_has_its_error() -> None:
    ours, theirs = features(60, 1.5), features(200)
    found = in_space(SPACE, ours, theirs, theirs, 5)
    assert found.keys() == NAMES | {f"{name}_se" for name in NAMES} | {"real_fd_colour"}
    assert found["fd_colour"] == frechet_distance(ours.normal, theirs.normal)
    # Wider than the reference, and few of it: not precise, and most is recalled.
    assert found["precision_colour"] < found["recall_colour"]
    assert all(found[f"{name}_se"] > 0 for name in NAMES - {"copies_colour"})
    assert found == in_space(SPACE, ours, theirs, theirs, 5)


def test_real_images_show_what_the_best_distance_would_be() -> None:
    """Their distance is what perfect samples get, and it is above 0."""
    theirs = features(400)
    perfect = [in_space(SPACE, features(60), theirs, theirs, 5)["fd_colour"] for _ in range(20)]
    bad = in_space(SPACE, features(60, 1.5), theirs, theirs, 5)
    assert min(perfect) < bad["real_fd_colour"] < max(perfect) < bad["fd_colour"]
    # The other images are not too few to be compared with.
    assert "real_fd_colour" in in_space(SPACE, features(200), theirs, theirs, 5)
    assert "real_fd_colour" not in in_space(SPACE, features(201), theirs, theirs, 5)


def test_few_images_have_fewer_metrics() -> None:
    ours, theirs = features(20), features(200)
    found = in_space(SPACE, ours, theirs, theirs, 5)
    assert found.keys() >= NAMES
    unknown = ("fd", "kid", "recall", "coverage")
    assert not {f"{name}_colour_se" for name in unknown} & found.keys()
    manifolds = {f"{name}_colour" for name in ("precision", "recall", "density", "coverage")}
    assert not manifolds & in_space(SPACE, ours, theirs, theirs, 20).keys()
    assert not manifolds & in_space(SPACE, theirs, ours, ours, 20).keys()


def test_of_a_reference_that_is_mean_and_covariance_there_is_the_frechet_distance() -> None:
    ours, training = features(60), features(200)
    only = Statistics(training.normal, np.empty((0, 3), np.float32), 0)
    found = in_space(SPACE, ours, only, training, 5)
    metrics = {name for name in found if not name.endswith("_se")}
    assert metrics == {"fd_colour", "copies_colour", "authenticity_colour"}
    assert found["fd_colour"] == pytest.approx(frechet_distance(ours.normal, training.normal))
