"""Drawn portraits: a function of (seed, index), with annotations of their faces."""

from __future__ import annotations

import io
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lockstep.synthetic.portraits import Face, annotated_faces, draw, image
from lockstep.synthetic.portraits.plans import KINDS, kind_of, plan


def of_kind(kind: str, count: int = 1) -> list[int]:
    """The first images of a kind."""
    return [index for index in range(1000) if kind_of(0, index) == kind][:count]


def digest(index: int) -> bytes:
    return draw(5, index).tobytes()


def test_a_image_depends_on_seed_and_index_alone() -> None:
    indices = [0, 1, 2, *of_kind("copy")]
    here = [digest(index) for index in indices]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(digest, indices[::-1]))[::-1] == here
    assert len(set(here)) == len(here)
    assert draw(6, 0).tobytes() != here[0]


def test_a_file_holds_the_drawing() -> None:
    types = Counter()
    for index in range(24):
        file = image(index)
        assert file == image(index)
        types[file.content_type] += 1
        with Image.open(io.BytesIO(file.data)) as opened:
            assert Image.MIME[opened.format or ""] == file.content_type
            found = np.asarray(opened.convert("RGB"), np.float64)
        drawn = draw(0, index)
        assert found.shape == drawn.shape
        light = found.mean(2) - drawn.mean(2)
        assert abs(light.mean()) < 3
    assert types["image/jpeg"] > 12


def test_images_have_usual_sizes() -> None:
    for index in range(12):
        pixels = draw(0, index)
        assert pixels.dtype == np.uint8
        height, width, channels = pixels.shape
        assert channels == 3
        assert 300 <= min(height, width) <= max(height, width) <= 1800


def test_kinds_come_in_their_shares() -> None:
    count = 3000
    found = Counter(kind_of(0, index) for index in range(count))
    for kind, share in KINDS.items():
        assert found[kind] == pytest.approx(count * share, abs=4 * (count * share) ** 0.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**5))
def test_faces_to_be_kept_are_large_straight_and_inside(seed: int, index: int) -> None:
    planned = plan(seed, index)
    height, width = planned.height, planned.width
    if planned.copy is not None:
        height, width = (round(side * planned.copy.scale) for side in (height, width))
    for face in annotated_faces(seed, index):
        assert face.keep == (face.why == "kept")
        if face.keep:
            assert 0 < face.box.left < face.box.right < width
            assert 0 < face.box.top < face.box.bottom < height
            assert face.box.right - face.box.left > 82


@pytest.mark.parametrize(
    ("kind", "why"),
    [(kind, "kept") for kind in ("portrait", "distant", "compressed", "noisy", "copy")]
    + [(kind, kind) for kind in ("turned", "tilted", "blurred", "masked", "drawing", "tinted")]
    + [("tiny", "small"), ("shaken", "blurred")],
)
def test_the_kind_says_what_is_wrong(kind: str, why: str) -> None:
    for index in of_kind(kind, 3):
        (face,) = annotated_faces(0, index)
        assert face.why == why
        assert face.kind == ("portrait" if kind == "copy" else kind)


def middle_of_the_face(index: int) -> np.ndarray:
    """Nose and mouth, (32, 32, 3)."""
    (face,) = annotated_faces(0, index)
    left, top, right, bottom = face.box
    across, down = (right - left) * 0.25, (bottom - top) * 0.4
    part = [round(edge) for edge in (left + across, top + down, right - across, bottom)]
    cut = draw(0, index)[part[1] : part[3], part[0] : part[2]]
    return cv2.resize(cut, (32, 32), interpolation=cv2.INTER_AREA)


def test_cameras_and_people_do_what_the_kind_says() -> None:
    def sharpness(kind: str) -> list[float]:
        return [
            float(cv2.Laplacian(middle_of_the_face(i).mean(2), cv2.CV_64F).var())
            for i in of_kind(kind, 3)
        ]

    assert max(sharpness("blurred") + sharpness("shaken")) < min(sharpness("portrait"))
    for index in of_kind("masked", 3):
        (figure,) = plan(0, index).figures
        assert figure.mask is not None
        colours = middle_of_the_face(index)[14:24, 8:24].reshape(-1, 3).astype(float)
        hidden = np.array(figure.mask) / sum(figure.mask)
        seen = colours.mean(0) / colours.mean(0).sum()
        assert np.abs(seen - hidden).max() < 0.06
    for index in of_kind("compressed", 3):
        assert len(image(index).data) < 0.09 * draw(0, index).size
    red, blue = [], []
    for index in of_kind("tinted", 6):
        if plan(0, index).camera.filter in ("swapped", "negative"):
            mean = middle_of_the_face(index).reshape(-1, 3).mean(0)
            red.append(mean[0])
            blue.append(mean[2])
    assert np.all(np.array(blue) > np.array(red))


def test_crowds_and_empty_images() -> None:
    assert all(len(annotated_faces(0, index)) >= 2 for index in of_kind("crowd", 20))
    assert all(annotated_faces(0, index) == () for index in of_kind("nobody", 5))
    assert {face.why for index in of_kind("crowd", 20) for face in annotated_faces(0, index)} == {
        "kept",
        "small",
        "tilted",
        "turned",
    }


def cut_out(pixels: np.ndarray, face: Face) -> np.ndarray:
    left, top, right, bottom = (round(edge) for edge in face.box)
    return cv2.resize(pixels[top:bottom, left:right], (64, 64), interpolation=cv2.INTER_AREA)


def test_a_copy_shows_an_earlier_portrait() -> None:
    for index in of_kind("copy", 3):
        copy = plan(0, index).copy
        assert copy is not None
        assert copy.of < index
        (here,), (there,) = annotated_faces(0, index), annotated_faces(0, copy.of)
        assert here.identity == there.identity
        ours, theirs = draw(0, index), draw(0, copy.of)
        assert ours.shape != theirs.shape
        same = np.corrcoef(cut_out(ours, here).ravel(), cut_out(theirs, there).ravel())[0, 1]
        other = of_kind("portrait", 2)[-1]
        (face,) = annotated_faces(0, other)
        strange = cut_out(draw(0, other), face)
        assert same > 0.97 > np.corrcoef(cut_out(ours, here).ravel(), strange.ravel())[0, 1]


@pytest.mark.parametrize("arguments", [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(arguments: tuple[int, int]) -> None:
    for function in (draw, annotated_faces):
        with pytest.raises(ValueError, match="non-negative"):
            function(*arguments)
