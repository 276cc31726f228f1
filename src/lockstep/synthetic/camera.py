"""Where a point of the studio lies in the image.

The studio floor is the plane z = 0; x runs to the right of the image, y away from the
camera and z upwards. All lengths share one arbitrary unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

Triple: TypeAlias = tuple[float, float, float]

TARGET = (0.0, 0.15, 0.55)
FIELD = 0.205
"""Tangent of half the field of view, the same across and up: images are square."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at `TARGET` and is never tilted sideways.

    Parameters
    ----------
    eye
        Position (x, y, z) of the pinhole.
    """

    eye: Triple

    @cached_property
    def axes(self) -> tuple[Triple, Triple, Triple]:
        """Unit vectors right, up and forward."""
        x, y, z = (target - eye for target, eye in zip(TARGET, self.eye, strict=True))
        level = math.hypot(x, y)
        length = math.hypot(level, z)
        right = (y / level, -x / level, 0.0)
        forward = (x / length, y / length, z / length)
        up = (
            right[1] * forward[2],
            -right[0] * forward[2],
            right[0] * forward[1] - right[1] * forward[0],
        )
        return right, up, forward

    def view(self, point: Triple) -> Triple:
        """Coordinates of `point` along right, up and forward, counted from the eye."""
        x, y, z = (p - eye for p, eye in zip(point, self.eye, strict=True))
        right, up, forward = (a * x + b * y + c * z for a, b, c in self.axes)
        return right, up, forward


def image_u(slope: float) -> float:
    """Image column in [0, 1], from the left, of a ray that goes `slope` right per forward."""
    return 0.5 + slope / (2 * FIELD)


def image_v(slope: float) -> float:
    """Image row in [0, 1], from the top, of a ray that goes `slope` up per forward."""
    return 0.5 - slope / (2 * FIELD)
