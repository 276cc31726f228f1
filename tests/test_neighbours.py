from __future__ import annotations

import numpy as np
import pytest

from lockstep.core.errors import LockstepError
from lockstep.evaluation import neighbours
from lockstep.evaluation.neighbours import authentic, memorization

RNG = np.random.default_rng(0)


def test_nearest_by_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_ROWS", 16)
    generated = RNG.integers(0, 256, (37, 4, 4, 3)).astype(np.uint8)
    training = RNG.integers(0, 256, (101, 4, 4, 3)).astype(np.uint8)
    apart = np.linalg.norm(
        (generated[:, None].astype(float) - training[None]).reshape(37, 101, -1), axis=2
    )
    own = np.linalg.norm(
        (training[:, None].astype(float) - training[None]).reshape(101, 101, -1), axis=2
    )
    np.fill_diagonal(own, np.inf)
    found = memorization(generated, training)
    assert np.array_equal(found.nearest, apart.argmin(1))
    assert found.distances == pytest.approx(apart.min(1), rel=1e-5)
    assert found.threshold == pytest.approx(np.quantile(own.min(1), 0.01), rel=1e-5)
    assert found.copied.mean() == (apart.min(1) < found.threshold).mean()


def test_copies_are_found_and_others_are_not() -> None:
    training = RNG.standard_normal((500, 32)).astype(np.float32)
    fresh = RNG.standard_normal((60, 32)).astype(np.float32)
    stolen = training[RNG.permutation(500)[:20]]
    found = memorization(np.concatenate([fresh, stolen]), training)
    assert found.copied.mean() == pytest.approx(20 / 80, abs=0.03)
    assert found.distances[60:].max() == 0
    assert np.array_equal(training[found.nearest[60:]], stolen)


def test_a_copy_is_one_also_where_training_images_are_there_twice() -> None:
    training = np.repeat(RNG.standard_normal((50, 8)), 2, axis=0)
    found = memorization(np.concatenate([training[:10], training[:30] + 1e-3]), training)
    assert found.threshold == 0
    assert found.copied.mean() == 10 / 40


def test_mirrored_copies() -> None:
    training = RNG.integers(0, 256, (60, 6, 6, 3)).astype(np.uint8)
    stolen = training[7:17, :, ::-1]
    assert memorization(stolen, training).distances.min() > 0
    found = memorization(stolen, training, mirrored=True)
    assert found.copied.mean() == 1
    assert found.nearest.tolist() == list(range(7, 17))
    # The same rule for the training set itself: with each image mirrored in it, 0 is usual.
    both = np.concatenate([training, training[:, :, ::-1]])
    assert memorization(stolen, both).threshold > 0
    assert memorization(stolen, both, mirrored=True).threshold == 0


def test_authentic_by_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_ROWS", 16)
    generated = RNG.standard_normal((70, 5)).astype(np.float32)
    training = RNG.standard_normal((90, 5)).astype(np.float32)
    found = authentic(memorization(generated, training), training)
    for one, said in zip(generated, found, strict=True):
        nearest = np.linalg.norm(training - one, axis=1).argmin()
        others = np.delete(training, nearest, axis=0)
        theirs = np.linalg.norm(others - training[nearest], axis=1).min()
        assert said == (np.linalg.norm(training[nearest] - one) > theirs)
    assert 0.2 < found.mean() < 0.6


def test_copies_are_not_authentic_and_strangers_are() -> None:
    training = np.array([[0.0], [1], [4], [4]])
    # A copy; nearer to 0 than 1 is; farther; a copy of what is there twice; beside it; a stranger.
    generated = np.array([[1.0], [-0.9], [-1.1], [4], [4.1], [99]])
    found = authentic(memorization(generated, training), training)
    assert found.tolist() == [False, False, True, False, True, True]


def test_too_few_are_refused() -> None:
    rows = np.zeros((3, 2))
    with pytest.raises(LockstepError, match="there are 0 and 3"):
        memorization(rows[:0], rows)
    with pytest.raises(LockstepError, match="there are 3 and 1"):
        memorization(rows, rows[:1])
