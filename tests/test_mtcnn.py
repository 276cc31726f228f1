"""The detector `mtcnn`, where facenet-pytorch is installed and where it is not."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.models.dlib_faces import mtcnn
from lockstep.sources.faces.decide import broken_rule
from lockstep.sources.faces.detect import detect_faces
from test_faces import DETECTION, RULES_HERE

SETTINGS = dataclasses.replace(DETECTION, detector="mtcnn")


@pytest.fixture
def astronaut() -> NDArray[np.uint8]:
    """A photograph by NASA, in the public domain."""
    return np.asarray(pytest.importorskip("skimage.data").astronaut())


def test_without_the_library_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    mtcnn._model.cache_clear()
    with pytest.raises(LockstepError, match=r"detector: mtcnn .*--no-deps facenet-pytorch") as e:
        mtcnn.detect(np.zeros((100, 100, 3), np.uint8), 40)
    assert "\n" not in str(e.value)
    assert mtcnn.detect(np.zeros((30, 100, 3), np.uint8), 40) == []


def test_it_finds_the_same_face(astronaut: NDArray[np.uint8]) -> None:
    pytest.importorskip("facenet_pytorch")
    (usual,), (found,) = detect_faces(astronaut, DETECTION), detect_faces(astronaut, SETTINGS)
    assert found.measures.box == pytest.approx(usual.measures.box, abs=15)
    assert found.measures.width == pytest.approx(usual.measures.width, rel=0.08)
    assert found.measures.nose == pytest.approx(usual.measures.nose, abs=0.05)
    assert found.measures.score > 0.9
    assert broken_rule(found.measures, RULES_HERE) is None
    assert detect_faces(astronaut[300:], SETTINGS) == []
    assert len(mtcnn.identity()["mtcnn"]) == 64
