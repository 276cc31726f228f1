"""Every face at the same place: the image turned and scaled so that the eyes lie level."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

EYE_DISTANCE = 0.27
"""Between the middles of the eyes, as a share of the crop's side."""
EYE_LINE = 0.45
"""From the crop's top to the eyes, as a share of its side: hair and chin are in it."""

# Beyond the image's border, as shares of the crop's side: how far it takes to go out of focus, and
# how far out of focus that is.
_FADE, _SOFT = 0.06, 0.02


class Aligned(NamedTuple):
    """A face cut out."""

    pixels: NDArray[np.uint8]  # (side, side, 3)
    outside: float  # share of them that lies outside the image
    matrix: NDArray[np.float64]  # (2, 3), from the image's x, y, 1 to the crop's x, y

    def moved(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 2) of the image in the crop's pixels."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]


def crop(rgb: NDArray[np.uint8], eyes: NDArray[np.float64], side: int) -> Aligned:
    """Cut out a face, `side` x `side` pixels, in true proportion to any size of the image.

    `rgb` is (H, W, 3); `eyes` (2, 2) are x and y of their middles, the left one in the image first.
    Beyond the border the image goes on mirrored and out of focus, as in the alignment of FFHQ
    (Karras et al., 2019): colours drawn out into stripes would be learnt.
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
    cut = cv2.warpAffine(
        rgb, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    height, width = rgb.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)]) @ matrix[:, :2].T
    image = (corners + matrix[:, 2]).astype(np.float32)
    frame = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32)
    inside, _ = cv2.intersectConvexConvex(image, frame)
    outside = 1 - min(1.0, inside / (size[0] * size[1]))
    pixels, matrix = smaller(cut, side), matrix / larger
    if outside > 0:
        pixels = _softened(pixels, matrix, width, height)
    return Aligned(pixels, outside, matrix)


def _softened(
    pixels: NDArray[np.uint8], matrix: NDArray[np.float64], width: int, height: int
) -> NDArray[np.uint8]:
    """The crop, the blurrier the farther beyond the image's border."""
    side = pixels.shape[0]
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    (a, b, c), (d, e, f) = cv2.invertAffineTransform(matrix)
    x, y = a * across + b * down + c, d * across + e * down + f
    beyond = np.maximum(np.maximum(-x, x - (width - 1)), np.maximum(-y, y - (height - 1)))
    share = np.clip(beyond / (math.hypot(a, d) * _FADE * side), 0, 1)[..., None]
    soft = cv2.GaussianBlur(pixels, (0, 0), _SOFT * side)
    return (pixels * (1 - share) + soft * share).round().astype(np.uint8)


def smaller(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A square image reduced to `side` by averaging areas."""
    if image.shape[0] == side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
