"""face_recognition's models: where faces are, and where their parts are.

Importing that library is not harmless. Where its models or `pkg_resources` are missing, it prints
a hint and quits the process with status 0, as if all were done; and it tells Pillow to accept
truncated files from then on. Both are mended here, and nobody else imports it.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from lockstep.core.errors import LockstepError
from lockstep.models.dlib_faces import mtcnn

_MEND = (
    "install face-recognition, face-recognition-models, dlib (or dlib-bin) and setuptools below "
    "82, which has pkg_resources"
)


class Box(NamedTuple):
    """An upright rectangle in pixels; right and bottom are outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    def scaled(self, by: float) -> Box:
        return Box(*(edge * by for edge in self))


@cache
def models() -> ModuleType:
    """The module `face_recognition.api` with its models loaded: 0.15 GB, a second.

    Raises `LockstepError` if the library is missing or cannot be used.
    """
    truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")
            import face_recognition.api as api
    except SystemExit:
        hint = " ".join(said.getvalue().split())
        raise LockstepError(
            f"face_recognition quit while it was imported ({hint}); {_MEND}"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:  # OSError, RuntimeError: a model's file
        raise LockstepError(f"face_recognition cannot be imported ({error}); {_MEND}") from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated
    return api


SMALLEST = {"hog": 80, "cnn": 80, "mtcnn": 40}
"""The width in pixels of the smallest face that a detector finds for sure."""

# Landmarks are looked for in faces of this width at most, in pixels: the predictor compares single
# pixels, which in a large photograph are grain.
_FACE = 320


def detect(
    grey: NDArray[np.uint8], rgb: NDArray[np.uint8], detector: str
) -> list[tuple[Any, float]]:
    """dlib's rectangles of the faces in an image, without enlarging it, and how sure it is of each.

    `hog` reads `grey` (H, W): 19 megapixels a second and core, of colours 14. It is sure of a face
    by 0 to 3. `cnn` reads `rgb` (H, W, 3), finds turned heads too, and does 0.15 without a GPU.
    `mtcnn` reads `rgb` too; it and `cnn` are sure by 0 to 1.
    """
    api = models()
    if detector == "hog":
        rectangles, scores, _ = api.face_detector.run(grey, 0, 0.0)
        return list(zip(rectangles, scores, strict=True))
    if detector == "mtcnn":
        found = mtcnn.detect(rgb, SMALLEST["mtcnn"])
        return [(api.dlib.rectangle(*box), score) for box, score in found]
    return [(found.rect, found.confidence) for found in api.cnn_face_detector(rgb, 0)]


def landmarks(grey: NDArray[np.uint8], rectangle: Any) -> NDArray[np.float64]:
    """(68, 2) points of a face, x and y in pixels: the 68 of the iBUG 300-W annotation."""
    api = models()
    left, top, scale = 0, 0, (1.0, 1.0)
    if rectangle.width() > _FACE:
        reach = rectangle.width() // 2
        left, top = max(0, rectangle.left() - reach), max(0, rectangle.top() - reach)
        part = grey[top : rectangle.bottom() + reach, left : rectangle.right() + reach]
        height, width = part.shape
        size = (
            math.ceil(width * _FACE / rectangle.width()),
            math.ceil(height * _FACE / rectangle.width()),
        )
        scale = (size[0] / width, size[1] / height)
        grey = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        rectangle = api.dlib.rectangle(
            round((rectangle.left() - left) * scale[0]),
            round((rectangle.top() - top) * scale[1]),
            round((rectangle.right() - left) * scale[0]),
            round((rectangle.bottom() - top) * scale[1]),
        )
    shape = api.pose_predictor_68_point(grey, rectangle)
    points = np.array([(part.x, part.y) for part in shape.parts()], np.float64)
    return points / scale + (left, top)
