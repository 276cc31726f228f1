"""Every face at the same place: the image turned and scaled so that the eyes lie level."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

EYE_DISTANCE = 0.27
"""Between the middles of the eyes, as a share of the crop's side."""
EYE_LINE = 0.45
"""From the crop's top to the eyes, as a share of its side: hair and chin are in it."""


def crop(
    rgb: NDArray[np.uint8], eyes: NDArray[np.float64], side: int
) -> tuple[NDArray[np.uint8], float]:
    """Cut out a face, `side` x `side` pixels, in true proportion to any size of the image.

    `rgb` is (H, W, 3); `eyes` (2, 2) are x and y of their middles, the left one in the image first.
    Gives (side, side, 3), and the share of it outside the image, where the border's colours go on.
    """
    across, down = eyes[1] - eyes[0]
    distance = max(math.hypot(across, down), 1.0)  # Both eyes at one point are no face's.
    # A large face is cut out larger and then averaged: plain warping would skip pixels.
    larger = max(1, math.ceil(distance / (EYE_DISTANCE * side)))
    scale = EYE_DISTANCE * side * larger / distance
    cos, sin = across / distance * scale, down / distance * scale
    middle_x, middle_y = eyes.mean(0)
    target_x, target_y = 0.5 * side * larger, EYE_LINE * side * larger
    matrix = np.array(
        [
            [cos, sin, target_x - cos * middle_x - sin * middle_y],
            [-sin, cos, target_y + sin * middle_x - cos * middle_y],
        ]
    )
    size = (side * larger, side * larger)
    cut = cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = rgb.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)]) @ matrix[:, :2].T
    image = (corners + matrix[:, 2]).astype(np.float32)
    frame = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32)
    inside, _ = cv2.intersectConvexConvex(image, frame)
    return smaller(cut, side), 1 - min(1.0, inside / (size[0] * size[1]))


def smaller(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A square image reduced to `side` by averaging areas."""
    if image.shape[0] == side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
