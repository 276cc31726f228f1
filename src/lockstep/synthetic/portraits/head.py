"""The shape of a head, stacked ellipses seen from any side; the light on it, and its hair's grain.

At the height y a head is the ellipse (x / width)^2 + (z / depth)^2 = 1, so the point of it that
a pixel shows has a closed form: no rays are marched. x runs right, y down, z to the viewer; the
line of the eyes is y = 0, and 1 is half the width of the head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.painting import as_triple
from lockstep.synthetic.portraits.people import Person, Pose
from lockstep.synthetic.primitives import Triple

Array: TypeAlias = NDArray[np.float32]

CROWN, CHIN = -1.5, 1.46
"""Highest and lowest y of the bare head."""
PIVOT = 0.5
"""The head leans about a point so far below the eyes."""
_STEPS = 512
_NONE = np.float32(0)


@dataclass(frozen=True)
class Shell:
    """A table of half widths and depths over equally spaced y from `top` to `bottom`."""

    top: float
    bottom: float
    width: Array
    depth: Array


def skull(person: Person) -> Shell:
    """The bare head."""
    top, bottom = CROWN * person.height, CHIN * person.height
    y = np.linspace(top, bottom, _STEPS)
    t = np.where(y < 0, y / top, y / bottom)
    width = np.where(
        y < 0, (1 - t**2.5) ** (1 / 2.3), (1 - 0.62 * t**person.jaw - 0.38 * t**9) ** 0.7
    )
    depth = np.where(y < 0, 1.06 * (1 - t**2.6) ** (1 / 2.2), 1.06 * (1 - 0.16 * t - 0.84 * t**9))
    return Shell(top, bottom, width.astype(np.float32), np.maximum(depth, 0).astype(np.float32))


def hair(person: Person) -> Shell:
    """The head with its hair around it, down to where the hair ends."""
    head = skull(person)
    top = head.top - person.volume * 1.3
    bottom = max(person.hair_length, 0.3)
    y = np.linspace(top, bottom, _STEPS)
    dome = np.clip(y / top, 0, 1)
    fall = np.clip(y / bottom, 0, 1)
    round_off = (1 - dome**2.5) ** (1 / 2.3)
    spread = 1 + 0.10 * fall - 0.35 * np.maximum(fall - 0.75, 0) ** 2 * 4
    if person.hair_length <= 0.3:
        spread = 1 - 0.04 * fall
    width = np.where(y < 0, round_off, spread) * (1.01 + 0.75 * person.volume)
    depth = np.where(y < 0, round_off, spread) * (1.07 + 0.9 * person.volume)
    return Shell(top, bottom, width.astype(np.float32), depth.astype(np.float32))


def grown(shell: Shell, by: float, bottom: float) -> Shell:
    """The same shape a little larger, cut off at `bottom`: a hat."""
    y = np.linspace(shell.top - by, bottom, _STEPS)
    rows = (y - shell.top + by * np.clip(y / shell.top, 0, 1)) / (shell.bottom - shell.top)
    at = np.clip(rows, 0, 1) * (_STEPS - 1)
    table = np.arange(_STEPS)
    round_off = np.sqrt(np.clip((y - y[0]) / (2 * by + 0.05), 0, 1))
    width, depth = (
        (np.interp(at, table, half) + by) * round_off for half in (shell.width, shell.depth)
    )
    return Shell(shell.top - by, bottom, width.astype(np.float32), depth.astype(np.float32))


@dataclass(frozen=True)
class Surface:
    """What each pixel shows of a shell; all arrays share one (H, W)."""

    inside: Array  # distance within the outline, negative outside
    angle: Array  # from the nose around the head, in radians, positive to the right
    x: Array
    y: Array
    normal: tuple[Array, Array, Array]  # towards the viewer's axes


def view(
    shell: Shell, across: Array, down: Array, pose: Pose, relief: Array | np.float32 = _NONE
) -> Surface:
    """The visible point of `shell` at image coordinates (across, down), roll already undone.

    `relief` raises the surface towards the face's front: it moves with the turn of the head.
    """
    cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
    across = across - relief * np.float32(sin)
    # Nodding: what lies in front moves down. The front's depth stands for the point's own.
    y = down - np.float32(math.sin(pose.pitch)) * (np.float32(0.8) + relief)
    step = (shell.bottom - shell.top) / (_STEPS - 1)
    row = np.clip((y - shell.top) / np.float32(step), 0, _STEPS - 1)
    index = row.astype(np.int32)
    width, depth = np.maximum(shell.width, 1e-3), np.maximum(shell.depth, 1e-3)
    reach = np.sqrt((width * cos) ** 2 + (depth * sin) ** 2).astype(np.float32)
    turn = np.arctan2(depth * sin, width * cos).astype(np.float32)
    a = reach[index]
    u = across / a
    angle = np.arcsin(np.clip(u, -1, 1)) - turn[index]
    sin_angle, cos_angle = np.sin(angle), np.cos(angle)
    slope_w = (np.gradient(shell.width) / step).astype(np.float32)
    slope_d = (np.gradient(shell.depth) / step).astype(np.float32)
    nx, nz = sin_angle / width[index], cos_angle / depth[index]
    ny = -(sin_angle**2 * (slope_w / width)[index] + cos_angle**2 * (slope_d / depth)[index])
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
    nx, ny, nz = nx / length, ny / length, nz / length
    inside = np.minimum((1 - np.abs(u)) * a, np.minimum(y - shell.top, shell.bottom - y))
    normal = (nx * cos + nz * sin, ny, nz * cos - nx * sin)
    return Surface(inside, angle, width[index] * sin_angle, y, normal)


def place(point: tuple[float, float, float], pose: Pose) -> tuple[float, float]:
    """Where a point of the head lies, in image coordinates before the roll."""
    x, y, z = point
    return x * math.cos(pose.yaw) + z * math.sin(pose.yaw), y + math.sin(pose.pitch) * z


def rolled(across: float, down: float, pose: Pose) -> tuple[float, float]:
    """The image coordinates leaned as the head is."""
    cos, sin = math.cos(pose.roll), math.sin(pose.roll)
    down -= PIVOT
    return across * cos - down * sin, across * sin + down * cos + PIVOT


@dataclass(frozen=True)
class Light:
    """Direction towards the lamp (x right, y down, z to the viewer) and strengths."""

    direction: Triple
    key: float
    ambient: float


def random_light(rng: np.random.Generator) -> Light:
    """A lamp above, to either side or in front."""
    direction = np.array([rng.uniform(-0.9, 0.9), -rng.uniform(0.35, 0.9), 1.0])
    towards = as_triple(direction / np.linalg.norm(direction))
    return Light(towards, float(rng.uniform(0.54, 0.7)), float(rng.uniform(0.41, 0.5)))


def lit(surface: Surface, light: Light, pose: Pose) -> Array:
    """Brightness of a matt surface, about 0.3 to 1.1, soft where the light ends."""
    # The lamp stays where it is when the head leans.
    cos, sin = math.cos(pose.roll), math.sin(pose.roll)
    x, y, lz = light.direction
    lx, ly = x * cos + y * sin, y * cos - x * sin
    nx, ny, nz = surface.normal
    facing = (nx * lx + ny * ly + nz * lz + 0.25) * np.float32(0.8)
    return light.ambient + light.key * np.clip(facing, 0, 1) - 0.10 * (1 - nz) ** 2


def streaks(rng: np.random.Generator) -> Array:
    """(64, 512) noise around 0, long down the columns."""
    fine = cv2.resize(rng.normal(0, 1, (16, 512)).astype(np.float32), (512, 64))
    locks = cv2.resize(rng.normal(0, 1, (6, 40)).astype(np.float32), (512, 64))
    return 0.75 * fine + 0.8 * locks


def flow(grain: Array, angle: Array, y: Array) -> Array:
    """The noise where hair hangs: `angle` around the head in radians, `y` downwards."""
    columns = (angle + 0.12 * np.sin(y * 2.2)) * (512 / (2 * np.pi) * 1.6) + 256
    columns, rows = columns.astype(np.float32), ((y + 1.8) * 12).astype(np.float32)
    return cv2.remap(grain, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
