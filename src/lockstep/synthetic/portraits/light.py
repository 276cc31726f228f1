"""The lamp, and how bright it makes a matt surface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lockstep.synthetic.portraits.head import Array, Seen
from lockstep.synthetic.portraits.people import RGB, Pose


@dataclass(frozen=True)
class Light:
    """Direction towards the lamp (x right, y down, z to the viewer) and strengths."""

    direction: RGB
    key: float
    ambient: float


def random_light(rng: np.random.Generator) -> Light:
    """A lamp above, to either side or in front."""
    direction = np.array([rng.uniform(-0.9, 0.9), -rng.uniform(0.35, 0.9), 1.0])
    x, y, z = (float(part) for part in direction / np.linalg.norm(direction))
    return Light(
        (x, y, z), key=float(rng.uniform(0.54, 0.7)), ambient=float(rng.uniform(0.41, 0.5))
    )


def lit(seen: Seen, light: Light, pose: Pose) -> Array:
    """Brightness of a matt surface, about 0.3 to 1.1, soft where the light ends."""
    # The lamp stays where it is when the head leans.
    cos, sin = math.cos(pose.roll), math.sin(pose.roll)
    x, y, lz = light.direction
    lx, ly = x * cos + y * sin, y * cos - x * sin
    nx, ny, nz = seen.normal
    facing = (nx * lx + ny * ly + nz * lz + 0.25) * np.float32(0.8)
    return light.ambient + light.key * np.clip(facing, 0, 1) - 0.10 * (1 - nz) ** 2
