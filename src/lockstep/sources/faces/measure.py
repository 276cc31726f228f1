"""What is measured of a face, each figure free of the image's size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.models.dlib_faces import align
from lockstep.models.dlib_faces.engine import Box
from lockstep.sources import perceptual_hash

# Of the aligned crop on which sharpness is measured: it means nothing without a fixed scale.
_SIDE = 256

# iBUG 300-W: the eye on the left of the image, the other one, the tip of the nose.
_LEFT_EYE, _RIGHT_EYE, _NOSE = slice(36, 42), slice(42, 48), 30


@dataclass(frozen=True)
class Measures:
    """A face in figures."""

    box: Box  # where the detector sees it, in the image's own pixels, upright
    slope: float  # of the line through the eyes, 0 if level
    eye_ratio: float  # distance of the eyes over the width of the box
    nose: float  # where its tip is along the line from the left eye (0) to the right one (1)
    sharpness: float  # variance of the Laplacian of the aligned crop in grey, 256 x 256
    outside: float  # share of the aligned crop that lies outside the image
    perceptual_hash: str  # 256 bits that are nearly the same for copies of a photograph


def measure(
    rgb: NDArray[np.uint8], box: Box, points: NDArray[np.float64]
) -> tuple[Measures, NDArray[np.uint8]]:
    """Measure one face; gives the aligned crop (256, 256, 3) too.

    `rgb` is the whole image, `points` are the 68 landmarks (68, 2) in its pixels.
    """
    left, right = points[_LEFT_EYE].mean(0), points[_RIGHT_EYE].mean(0)
    across, down = right - left
    span = max(float(np.hypot(across, down)), 1.0)
    aligned, outside = align.crop(rgb, np.stack([left, right]), _SIDE)
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)
    measures = Measures(
        box=box,
        slope=abs(float(down)) / max(abs(float(across)), 1e-6),
        eye_ratio=span / box.width,
        nose=float((points[_NOSE] - left) @ (right - left)) / span**2,
        sharpness=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        outside=outside,
        perceptual_hash=perceptual_hash.of(grey),
    )
    return measures, aligned
