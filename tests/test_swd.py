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
    assert sliced_wasserstein(images, images).value == 0
    assert sliced_wasserstein(images, images.copy(), seed=1).value == 0


def test_the_more_different_the_farther_apart() -> None:
    images = smooth(60)
    alike = sliced_wasserstein(images, smooth(60)).value
    near = sliced_wasserstein(images, smooth(60, blur=3.6)).value
    far = sliced_wasserstein(images, smooth(60, blur=8.0)).value
    assert 0 < alike < near < far
    assert sliced_wasserstein(smooth(60, blur=8.0), images).value == pytest.approx(far, rel=0.1)


def test_the_error_is_how_far_other_images_would_be() -> None:
    others = smooth(80, size=32)
    found = [sliced_wasserstein(smooth(80, blur=4.0, size=32), others) for _ in range(12)]
    spread = np.std([each.value for each in found], ddof=1)
    errors = [each.error for each in found if each.error is not None]
    assert len(errors) == len(found)
    assert np.mean(errors) == pytest.approx(spread, rel=0.6)


@pytest.mark.parametrize("other", [0, 255])
def test_images_of_one_colour_have_no_patches_that_differ(other: int) -> None:
    flat = np.zeros((4, 64, 64, 3), np.uint8)
    assert sliced_wasserstein(flat, flat + np.uint8(other)) == (0, 0)


def test_one_image_has_no_known_error() -> None:
    assert sliced_wasserstein(smooth(1), smooth(1)).error is None


def test_an_influence_is_what_a_little_more_of_a_value_adds() -> None:
    random = np.random.default_rng(1)
    ours = np.sort(random.normal(0.3, 1.2, 400)).astype(np.float32)
    theirs = np.sort(random.normal(0.0, 1.0, 400)).astype(np.float32)
    found = swd._influences(ours, ours, theirs)
    at = np.linspace(-6, 6, 20001)

    def distance(weights: NDArray[np.float64]) -> float:
        shares = np.append(0, np.cumsum(weights))[np.searchsorted(ours, at)]
        return float(np.abs(shares - np.searchsorted(theirs, at) / 400).sum() * (at[1] - at[0]))

    even, little = np.full(400, 1 / 400), 1e-4
    for i in range(40, 400, 40):
        more = (1 - little) * even
        more[i] += little
        change = (distance(more) - distance(even)) / little
        assert found[i] - found.mean() == pytest.approx(change, abs=0.01)


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
    assert sliced_wasserstein(*sets, seed=5).value == pytest.approx(expected, rel=1e-4)


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


def test_the_patches_of_many_images_have_mean_0_and_deviation_1() -> None:
    level = RNG.normal(120, 9, (600, 16, 16, 3)).astype(np.float32)
    tops, lefts = RNG.integers(10, size=(2, 600, 128))
    patches = swd._descriptors(level, tops, lefts).reshape(-1, 3, 49)
    # 3.8 million numbers of each colour: sums of them in 32 bits would be off by 0.1 %.
    assert patches.mean((0, 2), np.float64) == pytest.approx(0, abs=1e-5)
    assert patches.std((0, 2), np.float64) == pytest.approx(1, abs=1e-5)
