"""Precision, recall, density and coverage against every pair, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.core.errors import LockstepError
from lockstep.evaluation import jackknife, manifolds
from lockstep.evaluation.manifolds import manifold_metrics

RNG = np.random.default_rng(0)


def values(generated: np.ndarray, reference: np.ndarray, neighbours: int) -> dict[str, float]:
    found = manifold_metrics(generated, reference, neighbours)
    return {name: metric.value for name, metric in found.items()}


def by_every_pair(
    generated: np.ndarray, reference: np.ndarray, neighbours: int
) -> dict[str, float]:
    """The definitions, as they are written."""

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.sqrt(((one - other) ** 2).sum()))

    def radii(points: np.ndarray) -> list[float]:
        return [
            sorted(distance(one, other) for j, other in enumerate(points) if j != i)[neighbours - 1]
            for i, one in enumerate(points)
        ]

    of_reference, of_generated = radii(reference), radii(generated)
    apart = [[distance(x, y) for y in generated] for x in reference]
    pairs = [(i, j) for i in range(len(reference)) for j in range(len(generated))]
    in_reference = [(i, j) for i, j in pairs if apart[i][j] <= of_reference[i]]
    in_generated = [(i, j) for i, j in pairs if apart[i][j] <= of_generated[j]]
    return {
        "precision": len({j for _, j in in_reference}) / len(generated),
        "recall": len({i for i, _ in in_generated}) / len(reference),
        "density": len(in_reference) / neighbours / len(generated),
        "coverage": len({i for i, _ in in_reference}) / len(reference),
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "neighbours"), [(30, 45, 1), (45, 30, 5), (61, 57, 3), (6, 7, 5)]
)
def test_what_every_pair_gives(
    ours: int, theirs: int, neighbours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifolds, "_ROWS", 16)
    generated = 0.8 * RNG.standard_normal((ours, 3)).astype(np.float32) + 100.3
    reference = RNG.standard_normal((theirs, 3)).astype(np.float32) + 100
    expected = by_every_pair(generated.astype(float), reference.astype(float), neighbours)
    assert values(generated, reference, neighbours) == pytest.approx(expected, abs=1e-12)
    assert len(set(expected.values())) > 2


def test_by_hand() -> None:
    """On a line: the reference at 0, 1, 3 and 10 has radii 1, 1, 2 and 7, and more lies at 20."""
    reference = np.array([[0.0], [1], [3], [10]])
    generated = np.array([[0.5], [6], [20]])  # radii 5.5, 5.5 and 14
    assert values(generated, reference, 1) == {
        # 0.5 is in the balls of 0 and 1, and 6 in that of 10; 20 is in none.
        "precision": 2 / 3,
        "density": 3 / 3,
        "coverage": 3 / 4,
        # 0 ... 6 holds 0, 1 and 3 by the first; 10 by the second and third.
        "recall": 1.0,
    }


def test_one_mode_of_two_is_precise_and_recalls_half() -> None:
    """Precision and recall are not exchanged: each falls for its own reason."""
    left, right = RNG.standard_normal((2, 100, 4)) * 0.1 + np.array([-9.0, 9])[:, None, None]
    both, again = np.concatenate([left, right]), left + 0.001 * RNG.standard_normal(left.shape)
    dropped = values(again, both, 3)
    assert dropped["precision"] == 1
    assert dropped["recall"] == dropped["coverage"] == pytest.approx(0.5, abs=0.01)
    assert dropped["density"] > 1
    invented = values(both, again, 3)
    assert invented["precision"] == pytest.approx(0.5, abs=0.01)
    assert invented["recall"] == invented["coverage"] == 1


def test_equal_sets_and_distant_ones() -> None:
    some = RNG.standard_normal((50, 8)).astype(np.float32)
    assert values(some, some, 5) == {
        "precision": 1.0,
        "recall": 1.0,
        # Each is in its own ball and, in the mean, in those of k others.
        "density": pytest.approx(6 / 5),
        "coverage": 1.0,
    }
    assert set(values(some + 1000, some, 5).values()) == {0.0}


def test_a_ball_has_a_surface_and_one_of_no_size_holds_its_middle() -> None:
    reference = np.array([[0.0], [2], [4]])
    assert values(np.array([[-2.0], [9]]), reference, 1)["precision"] == 0.5
    # Features of network's sizes there three times, where rounding could leave a distance.
    twins = np.repeat(RNG.standard_normal((20, 300)).astype(np.float32) * 30 + 7, 3, axis=0)
    assert set(values(twins, twins, 2).values()) - {1.0} == {3 / 2}


def test_errors_are_those_of_leaving_groups_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifolds, "_ROWS", 16)
    generated, reference = RNG.standard_normal((83, 4)), RNG.standard_normal((50, 4)) + 0.8
    found = manifold_metrics(generated, reference, 5)
    group = jackknife.groups(83)
    without = [by_every_pair(generated[group != one], reference, 5) for one in range(20)]
    for name in ("recall", "coverage"):
        each = np.array([one[name] for one in without])
        expected = np.sqrt(19 / 20 * ((each - each.mean()) ** 2).sum())
        assert expected > 0
        assert found[name].error == pytest.approx(expected), name
    precision = found["precision"].value
    assert found["precision"].error == pytest.approx(np.sqrt(precision * (1 - precision) / 82))


def test_few_images_have_no_error_and_too_few_no_metrics() -> None:
    few = manifold_metrics(RNG.standard_normal((39, 2)), RNG.standard_normal((39, 2)), 5)
    assert few["recall"].error is few["coverage"].error is None
    for count, neighbours in ((5, 5), (40, 38)):
        assert not manifolds.enough(count, neighbours)
        assert manifolds.enough(count, neighbours - 1)
        with pytest.raises(LockstepError, match=r"evaluate\.neighbours: .* images of the refer"):
            manifold_metrics(RNG.standard_normal((60, 2)), np.zeros((count, 2)), neighbours)
        with pytest.raises(LockstepError, match=r"too many for .* generated images; lower it"):
            manifold_metrics(np.zeros((count, 2)), RNG.standard_normal((60, 2)), neighbours)


def test_errors_are_how_far_other_images_are_off() -> None:
    """Of 60 draws of 100 images, against the spread of their metrics."""
    reference = RNG.standard_normal((300, 6))
    draws = [manifold_metrics(RNG.standard_normal((100, 6)) + 0.4, reference, 5) for _ in range(60)]
    for name in ("precision", "recall", "density", "coverage"):
        spread = np.std([one[name].value for one in draws], ddof=1)
        errors = np.array([one[name].error for one in draws])
        assert np.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.4), name
