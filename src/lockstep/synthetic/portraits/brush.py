"""Smooth shapes on a canvas whose units are chosen freely: OpenCV's, with sub-pixel corners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.synthetic.painting import RGB, Points, ellipse

_SHIFT = 5


@dataclass(frozen=True)
class Brush:
    """Draws on `pixels` (H, W, 3 or 1) in units of `scale` pixels around `origin` (x, y)."""

    pixels: NDArray[np.uint8]
    scale: float
    origin: tuple[float, float]

    def polygon(self, points: ArrayLike, colour: RGB) -> None:
        """Fill; `points` are (N, 2)."""
        cv2.fillPoly(self.pixels, [self._corners(points)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, points: ArrayLike, colour: RGB, thickness: float, closed: bool = False) -> None:
        """A stroke through `points`, at least one pixel thick."""
        pixels = max(1, round(thickness * self.scale))
        cv2.polylines(
            self.pixels, [self._corners(points)], closed, colour, pixels, cv2.LINE_AA, _SHIFT
        )

    def ellipse(
        self, centre: Sequence[float], radii: Sequence[float], colour: RGB, turn: float = 0
    ) -> None:
        """Fill; `turn` in radians."""
        self.polygon(ellipse(centre, radii, turn), colour)

    def _corners(self, points: ArrayLike) -> NDArray[np.int32]:
        at = np.asarray(points, np.float64) * self.scale + np.asarray(self.origin)
        return np.round(at * 2**_SHIFT).astype(np.int32)


def curve(points: ArrayLike, count: int = 24) -> Points:
    """A smooth line (Catmull-Rom) through a few points, as `count` points."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    at = np.linspace(0, len(p) - 3, count)
    k = np.minimum(at.astype(int), len(p) - 4)
    t = (at - k)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )


def darker(colour: RGB, factor: float) -> RGB:
    """The colour times a factor."""
    red, green, blue = (min(255.0, part * factor) for part in colour)
    return red, green, blue
