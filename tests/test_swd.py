from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.evaluation import swd
from lockstep.evaluation.swd import sliced_wasserstein

RNG = np.random.default_rng(0)


def smooth(count: int, blur: float = 3.0, size: int = 64) -> NDArray[np.uint8]:
    """Clouds: noise, blurred."""
    noise = RNG.uniform(0, 255, (count, size, size, 3)).astype(np.float32)
    clouds = np.stack([cv2.GaussianBlur(image, (0, 0), blur) for image in noise])
    return (127 + 4 * (clouds - 127)).clip(0, 255).astype(np.uint8)


def test_equal_sets_are_not_apart() -> None:
    images = smooth(20)
    assert sliced_wasserstein(images, images) == 0
    assert sliced_wasserstein(images, images.copy(), seed=1) == 0


def test_the_more_different_the_farther_apart() -> None:
    images = smooth(60)
    alike = sliced_wasserstein(images, smooth(60))
    near = sliced_wasserstein(images, smooth(60, blur=3.6))
    far = sliced_wasserstein(images, smooth(60, blur=8.0))
    assert 0 < alike < near < far
    assert sliced_wasserstein(smooth(60, blur=8.0), images) == pytest.approx(far, rel=0.1)


def test_one_patch_and_one_direction_are_the_wasserstein_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images of 7 x 7 have one place for a patch: by hand, with the same random numbers."""
    monkeypatch.setattr(swd, "_PATCHES", 1)
    monkeypatch.setattr(swd, "_ROUNDS", 1)
    monkeypatch.setattr(swd, "_DIRECTIONS", 1)
    sets = [RNG.integers(0, 256, (30, 7, 7, 3), np.uint8) for _ in range(2)]
    random = np.random.default_rng(5)
    for _ in range(2):
        random.integers(1, size=(30, 1))
    direction = random.standard_normal((3 * 7 * 7, 1), np.float32).reshape(3, 7, 7)
    direction /= np.sqrt((direction**2).sum())
    places = []
    for images in sets:
        of_colour = images.transpose(0, 3, 1, 2).astype(np.float64)
        of_colour -= of_colour.mean((0, 2, 3), keepdims=True)
        of_colour /= of_colour.std((0, 2, 3), keepdims=True)
        places.append(sorted(float((image * direction).sum()) for image in of_colour))
    expected = 1000 * np.mean([abs(a - b) for a, b in zip(*places, strict=True)])
    assert sliced_wasserstein(*sets, seed=5) == pytest.approx(expected, rel=1e-4)


def test_the_pyramid_adds_up_to_the_image() -> None:
    images = smooth(2)
    levels = list(swd._laplacian_pyramid(images))
    assert [level.shape[1] for level in levels] == [64, 32, 16]
    whole = levels[-1]
    for level in levels[-2::-1]:
        whole = level + np.stack([cv2.pyrUp(image) for image in whole])
    np.testing.assert_allclose(whole, images, atol=1e-3)


@pytest.mark.parametrize("other", [(3, 64, 64, 3), (2, 32, 32, 3)])
def test_sets_that_do_not_match_are_refused(other: tuple[int, ...]) -> None:
    with pytest.raises(LockstepError, match="swd: wants two sets of as many images"):
        sliced_wasserstein(smooth(2), np.zeros(other, np.uint8))


@pytest.mark.parametrize("shape", [(0, 64, 64, 3), (2, 6, 64, 3)])
def test_nothing_to_compare_is_refused(shape: tuple[int, ...]) -> None:
    nothing = np.zeros(shape, np.uint8)
    with pytest.raises(LockstepError, match="swd: wants"):
        sliced_wasserstein(nothing, nothing)
