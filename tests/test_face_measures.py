"""A face's figures: at any size of image, at its border, in its colours; and shares by kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.config.load import load_params
from lockstep.models.dlib_faces import align
from lockstep.models.dlib_faces.engine import Box
from lockstep.sources.faces.decide import DUPLICATE, KEPT, broken_rule
from lockstep.sources.faces.detect import detect_faces
from lockstep.sources.faces.score import score
from lockstep.sources.faces.skin import cover_and_tint
from lockstep.synthetic.portraits import Face, annotated_faces, draw
from test_faces import DETECTION, RULES_HERE, candidate, of_kind


def test_the_committed_rules_are_these() -> None:
    assert load_params("faces", Path(__file__).parent.parent / "params.yaml").source == RULES_HERE


@pytest.mark.parametrize(
    ("figures", "rule"),
    [
        # Of photographs labelled by eye: the sharpest blurred one, sharp ones, level ones.
        ({"sharpness": 33.7}, "blurred"),
        *[({"sharpness": sharpness}, None) for sharpness in (40.0, 60.0, 183.0)],
        *[({"slope": slope}, None) for slope in (0.0805, 0.0999)],
        ({"slope": 0.15}, "tilted"),
        # Of a badge on a sleeve, which the detector takes for a face.
        ({"score": 0.106}, "unsure"),
    ],
)
def test_what_a_person_would_keep_is_kept(figures: dict[str, float], rule: str | None) -> None:
    measures = dataclasses.replace(candidate("a").measures, **figures)
    assert broken_rule(measures, RULES_HERE) == rule


def small_in_a_large_image(width: float) -> tuple[NDArray[np.uint8], Box]:
    """A drawn portrait of 6 megapixels whose face is `width` pixels wide, and where that is."""
    (index,) = of_kind("portrait")
    (face,) = annotated_faces(0, index)
    scale = width / (face.box.right - face.box.left)
    portrait = cv2.resize(draw(0, index), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    down = np.linspace(60, 180, 2000).astype(np.uint8)[:, None, None]
    large = np.ascontiguousarray(np.broadcast_to(down, (2000, 3000, 3)))
    top, left = 700, 1600
    large[top : top + portrait.shape[0], left : left + portrait.shape[1]] = portrait
    edges = (edge * scale + start for edge, start in zip(face.box, (left, top) * 2, strict=True))
    return large, Box(*edges)


@pytest.mark.parametrize("width", [84, 100, 400])
def test_no_image_is_too_large_for_a_face_of_min_box(width: int) -> None:
    large, box = small_in_a_large_image(width)
    (found,) = detect_faces(large, DETECTION)
    assert found.measures.width == pytest.approx(width, rel=0.15)
    middle = ((found.measures.box.left + found.measures.box.right) / 2, found.measures.box.top)
    assert middle == pytest.approx(((box.left + box.right) / 2, box.top), abs=width * 0.3)
    assert broken_rule(found.measures, RULES_HERE) is None
    reduced = dataclasses.replace(DETECTION, megapixels=1.0)
    assert len(detect_faces(large, reduced)) == (width > 200)
    # Where only larger ones are wanted, less is looked at.
    larger = dataclasses.replace(DETECTION, min_box=240)
    assert len(detect_faces(large, larger)) == (width > 200)


def test_beyond_the_border_a_crop_is_mirrored_and_soft() -> None:
    rng = np.random.default_rng(0)
    photograph = cv2.resize(
        rng.integers(0, 256, (100, 100, 3), np.uint8), (800, 800), interpolation=cv2.INTER_NEAREST
    )
    eyes = np.array([[365.0, 250.0], [435.0, 250.0]])
    inside = align.crop(photograph, eyes, 256)
    assert inside.outside == 0
    np.testing.assert_allclose(inside.moved(eyes), [[93.4, 115.2], [162.6, 115.2]], atol=0.1)
    cut = align.crop(photograph[180:], eyes - (0, 180), 256)
    rows = round(256 * cut.outside)
    assert 40 < rows < 50
    here, there = (one.pixels[rows + 1 :].astype(int) for one in (cut, inside))
    assert np.abs(here - there).max() <= 1
    changes = [float(np.abs(np.diff(row.astype(float), axis=0)).mean()) for row in cut.pixels]
    assert changes[0] < 0.6 * changes[rows + 5]
    # Nothing is drawn out into stripes: the rows above differ from the first one inside.
    stripes = np.repeat(cut.pixels[rows : rows + 1], rows, axis=0)
    assert np.abs(cut.pixels[:rows].astype(float) - stripes).mean() > 10
    mirrored = cut.pixels[rows : 2 * rows][::-1]
    near = np.corrcoef(cut.pixels[rows - 8 : rows].ravel(), mirrored[-8:].ravel())[0, 1]
    assert near > 0.8


def test_a_covered_nose_and_a_false_hue_are_seen() -> None:
    landmarks = np.full((68, 2), 128.0)
    landmarks[[21, 22, 27]] = [(108, 96), (148, 96), (128, 112)]
    landmarks[[40, 41]], landmarks[[46, 47]] = (94, 118), (162, 118)
    landmarks[[29, 30, 31, 33, 35]] = [(128, 146), (128, 158), (114, 166), (128, 168), (142, 166)]
    skin = (220, 172, 146)

    def figures(above: tuple[int, int, int], below: tuple[int, int, int]) -> tuple[float, float]:
        crop = np.empty((256, 256, 3), np.uint8)
        crop[:138], crop[138:] = above, below
        return cover_and_tint(crop, landmarks)

    cover, tint = figures(skin, skin)
    assert cover < 0.5
    assert tint < 15
    darker = tuple(round(part * 0.8) for part in skin)
    assert figures(skin, darker)[0] < 12
    for cloth in ((130, 180, 220), (240, 240, 240), (30, 30, 34), (120, 176, 156)):
        assert figures(skin, cloth)[0] > 15
        assert figures((90, 58, 40), cloth)[0] > 15
    assert figures(skin[::-1], skin[::-1])[1] > 120
    assert figures((120, 200, 110), (120, 200, 110))[1] > 65
    assert figures((130, 130, 130), (130, 130, 130))[1] == 0


def test_each_kind_has_its_share() -> None:
    here, there = Box(0, 0, 200, 200), Box(500, 500, 700, 700)
    known = {
        "a": (Face(here, True, "kept", "1", "crowd"), Face(there, False, "turned", "2", "crowd")),
        "b": (Face(here, True, "kept", "3", "portrait"),),
        "c": (Face(here, True, "kept", "3", "portrait"),),
        "d": (Face(here, False, "masked", "4", "masked"),),
        "e": (Face(here, True, "kept", "5", "portrait"),),
    }
    faces = [candidate("a"), candidate("a", box=there), *map(candidate, "bcde")]

    def shares(*decisions: str) -> list[float]:
        found = score(faces, decisions, known)
        names = ["recall_crowd", "recall_portrait", "kept_masked", "kept_turned"]
        assert list(found) == ["precision", "recall", *names]
        return [found[name] for name in names]

    assert shares(KEPT, "turned", KEPT, DUPLICATE, "covered", KEPT) == [1, 1, 0, 0]
    assert shares("small", KEPT, "small", KEPT, KEPT, "small") == [0, 0.5, 1, 1]
    assert score(faces[2:3], [KEPT], known, {"e", "a"})["recall_portrait"] == 1
    assert "recall_crowd" not in score(faces[2:3], [KEPT], known, {"a"})
    assert score([], [], {}) == {"precision": 0, "recall": 0}
