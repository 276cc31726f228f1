"""Shapes with an outline on a canvas that is leaned and zoomed as a whole: drawn comics' way.

The canvas is several times larger than the image, so that nothing need be smooth here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

RGB: TypeAlias = tuple[float, float, float]
Points: TypeAlias = NDArray[np.float64]

_SHIFT = 4


class Pen:
    """Draws on `pixels` (S, S, 3).

    Units are half widths of the head, from the point between the eyebrows; y runs downwards.

    Parameters
    ----------
    scale
        Pixels a unit.
    origin
        Where the units' origin lies, in pixels.
    turn
        The canvas leans by so many radians, clockwise.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], scale: float, origin: tuple[float, float], turn: float = 0
    ) -> None:
        self.pixels, self.scale = pixels, scale
        cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
        self._matrix = np.array([[cos, sin], [-sin, cos]])
        self._origin = np.array(origin)

    def fill(
        self, points: ArrayLike, colour: RGB, line: RGB | None = None, width: float = 0.035
    ) -> None:
        """A polygon (N, 2), with an outline of `line` if given."""
        corners = self._corners(points)
        cv2.fillPoly(self.pixels, [corners], colour, cv2.LINE_8, _SHIFT)
        if line is not None:
            self._lines(corners, line, width, closed=True)

    def stroke(self, points: ArrayLike, colour: RGB, width: float = 0.035) -> None:
        """A line through `points` (N, 2), at least a pixel of the canvas thick."""
        self._lines(self._corners(points), colour, width, closed=False)

    def ellipse(
        self,
        centre: Sequence[float],
        radii: Sequence[float],
        colour: RGB,
        line: RGB | None = None,
        turn: float = 0,
        width: float = 0.035,
    ) -> None:
        """A filled ellipse; `turn` in radians."""
        self.fill(ellipse(centre, radii, turn), colour, line, width)

    @contextmanager
    def inside(self, points: ArrayLike) -> Iterator[Pen]:
        """A pen whose strokes show only inside a polygon, once the block ends."""
        corners = self._corners(points)
        height, width = self.pixels.shape[:2]
        left, top = np.clip((corners.min(0) >> _SHIFT) - 1, 0, (width, height))
        right, bottom = np.clip((corners.max(0) >> _SHIFT) + 2, 0, (width, height))
        if left >= right or top >= bottom:
            yield Pen(np.empty((1, 1, 3), np.uint8), self.scale, (0, 0))
            return
        window = self.pixels[top:bottom, left:right]
        layer = Pen(window.copy(), self.scale, (0, 0))
        layer._matrix, layer._origin = self._matrix, self._origin - (left, top)
        yield layer
        mask = np.zeros(window.shape[:2], np.uint8)
        cv2.fillPoly(mask, [layer._corners(points)], 255, cv2.LINE_8, _SHIFT)
        cv2.copyTo(layer.pixels, mask, window)

    def _corners(self, points: ArrayLike) -> NDArray[np.int32]:
        at = np.asarray(points, np.float64) @ self._matrix + self._origin
        return np.round(at * 2**_SHIFT).astype(np.int32)

    def _lines(self, corners: NDArray[np.int32], colour: RGB, width: float, closed: bool) -> None:
        pixels = max(1, round(width * self.scale))
        cv2.polylines(self.pixels, [corners], closed, colour, pixels, cv2.LINE_8, _SHIFT)


def ellipse(
    centre: Sequence[float], radii: Sequence[float], turn: float = 0, corners: int = 32
) -> Points:
    """Corners (N, 2) of a polygon that passes for an ellipse; `turn` in radians."""
    at = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    x, y = radii[0] * np.cos(at), radii[1] * np.sin(at)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], 1)
