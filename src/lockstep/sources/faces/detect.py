"""One image: all its faces, measured and cut out. Nothing is decided here.

Each figure is free of the image's size.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.config.sources import Faces
from lockstep.core.decoding import NoImage, decode
from lockstep.models.dlib_faces import align, engine
from lockstep.models.dlib_faces.engine import Box
from lockstep.sources import perceptual_hash
from lockstep.sources.faces.skin import cover_and_tint

# Of the aligned crop on which sharpness is measured: it means nothing without a fixed scale.
_SIDE = 256

# iBUG 300-W: the eye on the left of the image, the other one, the tip of the nose, and where the
# jaw begins, beside the ears.
_LEFT_EYE, _RIGHT_EYE, _NOSE = slice(36, 42), slice(42, 48), 30
_LEFT_EAR, _RIGHT_EAR = 0, 16

# A detector's box over the landmarks' width, on average: 1.05 of 104 photographed faces, 1.02 of
# 132 drawn ones.
_BOX = 1.05


@dataclass(frozen=True)
class DetectionSettings:
    """What changes the figures of a face, beside the code."""

    detector: str  # `hog`, `cnn` or `mtcnn`
    # Faces are found in an image reduced as far as one of `min_box` pixels allows, or farther, to
    # `megapixels`, and cut out of the original.
    min_box: float
    megapixels: float | None
    size: int  # of the finished crop's sides, in pixels
    max_pixels: int  # A larger image is refused.

    @classmethod
    def of(cls, source: Faces, max_pixels: int) -> DetectionSettings:
        """Those of a source of faces."""
        return cls(source.detector, source.min_box, source.megapixels, source.size, max_pixels)


@dataclass(frozen=True)
class Measures:
    """A face in figures."""

    box: Box  # where the detector sees it, in the image's own pixels, upright
    width: float  # of such a box, but of the landmarks: the detector's go in steps of 1.2
    slope: float  # of the line through the eyes, 0 if level
    eye_ratio: float  # distance of the eyes over that of the landmarks beside the ears
    nose: float  # where its tip is along the line from the left eye (0) to the right one (1)
    sharpness: float  # variance of the Laplacian of the aligned crop in grey, 256 x 256
    outside: float  # share of the aligned crop that lies outside the image
    cover: float  # difference in colour of the nose from the skin above it, in CIELAB
    tint: float  # difference of the face's hue from skin's, in degrees, 0 to 180
    score: float  # how sure the detector is
    perceptual_hash: str  # 256 bits that are nearly the same for copies of a photograph


@dataclass(frozen=True)
class DetectedFace:
    """A face: its figures, and the finished crop as a PNG file."""

    measures: Measures
    png: bytes


def detect_faces(rgb: NDArray[np.uint8], settings: DetectionSettings) -> list[DetectedFace]:
    """All faces in an image (H, W, 3), from left to right."""
    height, width = rgb.shape[:2]
    scale = _reduction(width, height, settings)
    small = rgb
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    found = []
    for rectangle, score in engine.detect(grey, small, settings.detector):
        box = Box(rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1)
        points = engine.landmarks(grey, rectangle)
        measures, aligned = _measure(rgb, box.scaled(1 / scale), points / scale, score)
        found.append(DetectedFace(measures, _png(align.smaller(aligned, settings.size))))
    return sorted(found, key=lambda face: face.measures.box)


def _reduction(width: int, height: int, settings: DetectionSettings) -> float:
    """By how much an image is reduced before faces are looked for, 1 for not at all."""
    scale = min(1.0, engine.SMALLEST[settings.detector] / max(settings.min_box, 1.0))
    if settings.megapixels is not None:
        scale = min(scale, math.sqrt(settings.megapixels * 1e6 / (width * height)))
    return scale


def detect_in_file(file: tuple[str, Path | bytes], settings: DetectionSettings) -> str:
    """All faces in a file, or why it is no image, as a text that `faces_from_text` reads.

    `file` has the SHA-256 of its bytes, and these, or the path where they are.
    """
    try:
        rgb = np.asarray(decode(file[1], settings.max_pixels).image)
    except (NoImage, OSError) as error:
        return json.dumps({"broken": str(error)})
    faces = [
        {**asdict(face.measures), "png": base64.b64encode(face.png).decode()}
        for face in detect_faces(rgb, settings)
    ]
    return json.dumps({"found": faces})


def faces_from_text(text: str) -> tuple[list[DetectedFace], str]:
    """What `detect_in_file` wrote: the faces, and why the file is no image, if it is none."""
    fields = json.loads(text)
    found = []
    for face in fields.get("found", ()):
        png = base64.b64decode(face.pop("png"))
        measures = Measures(**{**face, "box": Box(*face["box"])})
        found.append(DetectedFace(measures, png))
    return found, fields.get("broken", "")


def _measure(
    rgb: NDArray[np.uint8], box: Box, points: NDArray[np.float64], score: float
) -> tuple[Measures, NDArray[np.uint8]]:
    """Measure one face; gives the aligned crop (256, 256, 3) too.

    `rgb` is the whole image, `points` are the 68 landmarks (68, 2) in its pixels.
    """
    left, right = points[_LEFT_EYE].mean(0), points[_RIGHT_EYE].mean(0)
    across, down = right - left
    span = max(float(np.hypot(across, down)), 1.0)
    wide = max(float(np.hypot(*(points[_RIGHT_EAR] - points[_LEFT_EAR]))), 1.0)
    aligned = align.crop(rgb, np.stack([left, right]), _SIDE)
    grey = cv2.cvtColor(aligned.pixels, cv2.COLOR_RGB2GRAY)
    cover, tint = cover_and_tint(aligned.pixels, aligned.moved(points))
    measures = Measures(
        box=box,
        width=_BOX * wide,
        slope=abs(float(down)) / max(abs(float(across)), 1e-6),
        eye_ratio=span / wide,
        nose=float((points[_NOSE] - left) @ (right - left)) / span**2,
        sharpness=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        outside=aligned.outside,
        cover=cover,
        tint=tint,
        score=score,
        perceptual_hash=perceptual_hash.of(grey),
    )
    return measures, aligned.pixels


def _png(rgb: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return data.tobytes()
