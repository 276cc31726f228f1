"""Shapes with an outline on a canvas that is leaned and zoomed as a whole: drawn comics' way.

The canvas is several times larger than the image, so that nothing need be smooth here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.synthetic.painting import Points, ellipse, mixed
from lockstep.synthetic.primitives import RGB

_SHIFT = 4


class Pen:
    """Draws on `pixels` (S, S, 3).

    Units are half widths of the head, from the point between the eyebrows; y runs downwards.
    The canvas has `scale` pixels a unit, `origin` is in pixels, and it leans by `turn` radians,
    clockwise.
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


def shade(colour: RGB, depth: float = 0.3) -> RGB:
    """The colour in a comic's shadow: darker, and a little towards violet."""
    return mixed(colour, (colour[0] * 0.38, colour[1] * 0.28, colour[2] * 0.46), depth)


def ink(colour: RGB) -> RGB:
    """The outline of a surface of that colour."""
    return mixed(shade(colour, 0.85), (40, 28, 42), 0.35)


def light(colour: RGB, share: float = 0.4) -> RGB:
    """The colour where light falls on it."""
    return mixed(colour, (255, 253, 246), share)


def bend(
    a: Sequence[float], control: Sequence[float], b: Sequence[float], count: int = 7
) -> list[tuple[float, float]]:
    """A quadratic Bézier curve from `a` to just before `b`."""
    at = np.linspace(0, 1, count, endpoint=False)
    x, y = ((1 - at) ** 2 * a[i] + 2 * at * (1 - at) * control[i] + at**2 * b[i] for i in (0, 1))
    return list(zip(x.tolist(), y.tolist(), strict=True))


def path(*points: Sequence[float], bow: float = 0.0, count: int = 6) -> Points:
    """A line through points, each part bowed to its left by `bow` times its length."""
    found: list[tuple[float, float]] = []
    for a, b in pairwise(points):
        dx, dy = b[0] - a[0], b[1] - a[1]
        control = ((a[0] + b[0]) / 2 + dy * bow, (a[1] + b[1]) / 2 - dx * bow)
        found += bend(a, control, b, count)
    last = points[-1]
    return np.array([*found, (last[0], last[1])])


def arc(
    centre: Sequence[float], radii: Sequence[float], start: float, stop: float, count: int = 20
) -> Points:
    """Part of an ellipse; angles in radians from the right, downwards."""
    at = np.linspace(start, stop, count)
    return np.stack([centre[0] + radii[0] * np.cos(at), centre[1] + radii[1] * np.sin(at)], 1)


def flipped(points: Points | Sequence[Sequence[float]], sign: float) -> Points:
    """The same, on the other side of the head if `sign` is -1."""
    return np.asarray(points, np.float64) * (sign, 1)
