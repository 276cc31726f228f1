"""Colours and curves that the parts of a head have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lockstep.synthetic.heads.pen import RGB, Points


def mixed(a: RGB, b: RGB, share: float) -> RGB:
    """Colour `a` with a share of `b` in it."""
    red, green, blue = (p * (1 - share) + q * share for p, q in zip(a, b, strict=True))
    return red, green, blue


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
