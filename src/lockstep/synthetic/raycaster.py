"""How a scene is drawn: rays through a camera, soft shadows, a matte studio look.

Each image is drawn on its own, with elementwise float32 operations that IEEE 754 rounds
exactly (sums, products, quotients, square roots), so its bytes do not depend on the batch it
is in or on the number of workers. Vectors are tuples of one array for each of x, y and z.
Light is added up linearly and encoded with gamma 2, whose inverse is a square root.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lockstep.data.clevr import COLOURS
from lockstep.synthetic.primitives import Triple, palette
from lockstep.synthetic.scenes import FIELD, Item, Scene, boxes

Array: TypeAlias = npt.NDArray[np.floating]
Vector: TypeAlias = tuple[Array, ...]
Cells: TypeAlias = npt.NDArray[np.intp]
Window: TypeAlias = tuple[slice, slice]

_NOMINAL = palette("575757 ad2323 2a4bd7 1d6914 814a19 8126c0 29d0d0 ffee33")
RGB = dict(zip(COLOURS, _NOMINAL, strict=True))
"""Nominal colours of the solids, 0 to 255, gamma-encoded as in the image."""

_FLOOR = -1  # owner of the pixels that show no item
_FLOOR_RGB = (170, 169, 167)
_KEY = 1.1
_FILL = 0.12
_SKY = 0.32
_BOUNCE = 0.2
_GLOSS = 0.10
_FILL_LIGHT = (0.55, -0.75, 0.35)
_LAMP_RADIUS = 0.16
_LAMP_RAYS = 16
_POOL_RADIUS = 8.0
_VIGNETTE = 0.15
_BEVEL = 0.12
_FAINT = 0.03
_BOUNDING = {"cube": math.sqrt(3), "sphere": 1.0, "cylinder": math.sqrt(1 + 0.76**2)}


def draw(scenes: Sequence[Scene], size: int = 64, supersample: int = 2) -> npt.NDArray[np.uint8]:
    """Draw scenes.

    Parameters
    ----------
    size
        Side of the images, in pixels.
    supersample
        Rays along each side of a pixel.

    Returns
    -------
    ndarray of uint8
        RGB images of shape (N, size, size, 3); each depends on its own scene alone.

    Raises
    ------
    ValueError
        If `size` or `supersample` is below 1.
    """
    for label, number in {"size": size, "supersample": supersample}.items():
        if number < 1:
            raise ValueError(f"{label} {number} is below 1; give 1 or more")
    images = np.empty((len(scenes), size, size, 3), np.uint8)
    for image, scene in zip(images, scenes, strict=True):
        image[...] = _draw_one(scene, size, supersample)
    return images


def _draw_one(scene: Scene, size: int, supersample: int) -> npt.NDArray[np.uint8]:
    side = size * supersample
    rays = _rays(scene, side)
    windows = _windows(scene, side)
    owner, depth = _first_hits(scene, rays, windows)
    lamp = _lamp_directions(scene.light, supersample)
    cells = _cells(side, supersample)
    floor = _shade_floor(scene, rays, lamp, cells)
    floor *= _vignette(side)
    canvas = np.empty((3, side, side), np.float32)
    for channel, plane in zip(canvas, _albedo(_FLOOR_RGB), strict=True):
        np.multiply(floor, plane, out=channel)
    for k, (item, window) in enumerate(zip(scene.items, windows, strict=True)):
        shown = owner[window] == k
        at = tuple(np.broadcast_to(ray, (side, side))[window][shown] for ray in rays)
        light, gloss = _shade_item(
            scene, item, at, depth[window][shown], lamp, cells[window][shown]
        )
        for channel, plane in zip(canvas, _albedo(RGB[item.colour]), strict=True):
            channel[window][shown] = plane * light + gloss
    return _develop(canvas, supersample)


@lru_cache(maxsize=8)
def _slopes(side: int) -> Array:
    """Slope of the ray through the centre of each column, from left to right."""
    return (((np.arange(side) + 0.5) / side * 2 - 1) * FIELD).astype(np.float32)


def _rays(scene: Scene, side: int) -> Vector:
    """Ray directions, each one unit long along the camera's axis.

    The parts broadcast to (side, side): the camera is level, so that the third part is the
    same all along a row.
    """
    right, up, forward = np.array(scene.camera.axes, np.float32)
    across = _slopes(side)[None, :]
    down = _slopes(side)[:, None]
    x, y = (forward[i] - down * up[i] + across * right[i] for i in (0, 1))
    return x, y, forward[2] - down * up[2]


def _windows(scene: Scene, side: int) -> list[Window]:
    """Part of the image that holds each item, clipped to the frame."""

    def pixels(low: float, high: float) -> slice:
        return slice(max(math.floor(low * side), 0), max(math.ceil(high * side), 0))

    return [(pixels(box.top, box.bottom), pixels(box.left, box.right)) for box in boxes(scene)]


def _first_hits(
    scene: Scene, rays: Vector, windows: Sequence[Window]
) -> tuple[npt.NDArray[np.int8], Array]:
    """Owner of each ray and the depth of its item; infinite where it meets none."""
    side = len(rays[2])
    owner = np.full((side, side), _FLOOR, np.int8)
    depth = np.full((side, side), np.inf, np.float32)
    for k, (item, window) in enumerate(zip(scene.items, windows, strict=True)):
        part = rays[0][window], rays[1][window], rays[2][window[0]]
        near, far = _span(item, _local_point(item, scene.camera.eye), _turned(item, part))
        hit = (near <= far) & (near < depth[window])
        owner[window][hit] = k
        depth[window][hit] = near[hit]
    return owner, depth


def _turned(item: Item, vector: Vector, sign: int = -1) -> Vector:
    """Turn a direction into the item's own frame, or with `sign` 1 back out of it."""
    cos = np.float32(math.cos(item.rotation))
    sin = np.float32(sign * math.sin(item.rotation))
    x, y, z = vector
    return cos * x - sin * y, sin * x + cos * y, z


def _local_point(item: Item, point: Vector | Triple) -> Vector:
    """A point as seen in the item's own frame, whose origin is the middle of the solid."""
    parts = zip(point, item.centre, strict=True)
    return _turned(item, tuple(np.asarray(p, np.float32) - np.float32(c) for p, c in parts))


def _span(item: Item, origin: Vector, ray: Vector) -> tuple[Array, Array]:
    """Where rays enter and leave a solid, in its own frame; entry > exit where they miss."""
    half = np.float32(item.half)
    if item.shape == "sphere":
        return _ball_span(half, origin, ray)
    if item.shape == "cube":
        spans = [_slab_span(half, o, r) for o, r in zip(origin, ray, strict=True)]
    else:
        radius = np.float32(item.radius)
        spans = [_ball_span(radius, origin[:2], ray[:2]), _slab_span(half, origin[2], ray[2])]
    near, far = spans[0]
    for low, high in spans[1:]:
        near, far = np.maximum(near, low), np.minimum(far, high)
    return near, far


def _slab_span(half: np.float32, origin: Array, ray: Array) -> tuple[Array, Array]:
    ray = np.where(ray == 0, np.float32(1e-9), ray)
    middle = -origin / ray
    reach = np.abs(half / ray)
    return middle - reach, middle + reach


def _ball_span(radius: np.float32, origin: Vector, ray: Vector) -> tuple[Array, Array]:
    """Span inside a sphere, or inside a disc when the vectors have two parts."""
    a = _dot(ray, ray)
    middle = -_dot(origin, ray) / a
    # The distance of the closest point, rather than the usual discriminant, keeps float32
    # accurate: no difference of two large squares.
    closest = tuple(o + middle * r for o, r in zip(origin, ray, strict=True))
    room = radius * radius - _dot(closest, closest)
    reach = np.sqrt(np.maximum(room, 0) / a)
    return np.where(room > 0, middle - reach, np.float32(np.inf)), middle + reach


def _dot(a: Vector, b: Vector) -> Array:
    return reduce(operator.add, (p * q for p, q in zip(a, b, strict=True)))


def _unit(vector: Vector) -> Vector:
    length = np.sqrt(_dot(vector, vector))
    return tuple(part / length for part in vector)


def _unit_triple(vector: Triple) -> Vector:
    """A unit vector whose parts are single numbers, rounded to float32 once."""
    length = math.hypot(*vector)
    return tuple(np.asarray(part / length, np.float32) for part in vector)


def _normal(item: Item, local: Vector) -> Vector:
    """Unit normals at points of the surface, in the item's own frame, edges rounded off."""
    if item.shape == "sphere":
        return _unit(local)
    bevel = item.half * _BEVEL
    inner = np.float32(item.radius - bevel)
    x, y, z = local
    nz = _beyond(z, np.float32(item.half - bevel))
    if item.shape == "cube":
        return _unit((_beyond(x, inner), _beyond(y, inner), nz))
    radial = np.sqrt(x * x + y * y)
    outwards = np.maximum(radial - inner, 0) / np.maximum(radial, np.float32(1e-6))
    return _unit((x * outwards, y * outwards, nz))


def _beyond(part: Array, inner: np.float32) -> Array:
    return part - np.clip(part, -inner, inner)


@lru_cache(maxsize=8)
def _cells(side: int, supersample: int) -> Cells:
    """Position of each ray within its pixel, as one number."""
    position = np.arange(side) % supersample
    return position[:, None] * supersample + position[None, :]


def _lamp_directions(light: Triple, supersample: int) -> Vector:
    """Directions towards points of the lamp, parts of shape (rays, supersample ** 2).

    The rays of one pixel share out the points of a spiral over the lamp's disc, so that few
    shadow rays each give a smooth penumbra once the pixel is averaged.
    """
    cells = supersample**2
    rays = max(1, _LAMP_RAYS // cells)
    turn = np.arange(rays * cells) * (math.pi * (3 - math.sqrt(5)))
    radius = _LAMP_RADIUS * np.sqrt((np.arange(rays * cells) + 0.5) / (rays * cells))
    towards = np.array(light) / math.hypot(*light)
    side = np.array([towards[1], -towards[0], 0]) / math.hypot(towards[0], towards[1])
    rise = np.cross(side, towards)
    points = (
        towards[:, None]
        + side[:, None] * (radius * np.cos(turn))
        + rise[:, None] * (radius * np.sin(turn))
    )
    return tuple(points.astype(np.float32).reshape(3, rays, cells))


def _lit(
    points: Vector, casters: Sequence[Item], light: Triple, lamp: Vector, cells: Cells
) -> Array:
    """Fraction of the lamp, 0 to 1, that each of P points sees past the casters."""
    clear = np.ones((len(lamp[0]), len(cells)), np.bool_)
    for item in casters:
        near = _may_be_shaded(points, item, light)
        origin = _local_point(item, tuple(part[near] for part in points))
        rays = tuple(part[:, cells[near]] for part in _turned(item, lamp))
        entry, leave = _span(item, origin, rays)
        clear[:, near] &= (entry > leave) | (leave < 0)
    return clear.sum(axis=0).astype(np.float32) / np.float32(len(clear))


def _may_be_shaded(points: Vector, item: Item, light: Triple) -> Cells:
    """Indices of the points whose cone towards the lamp touches the item's bounding sphere."""
    to = tuple(np.float32(c) - p for c, p in zip(item.centre, points, strict=True))
    along = _dot(to, _unit_triple(light))
    radius = np.float32(item.half * _BOUNDING[item.shape])
    reach = radius + np.maximum(along, 0) * np.float32(_LAMP_RADIUS)
    # The cone leans by at most the lamp's radius; a little more covers its slanted side.
    reach *= np.float32(1.05)
    return np.flatnonzero((_dot(to, to) - along * along < reach * reach) & (along > -radius))


def _shade_floor(scene: Scene, rays: Vector, lamp: Vector, cells: Cells) -> Array:
    """Light on the floor along each ray, shape (side, side)."""
    eye = scene.camera.eye
    depth = -np.float32(eye[2]) / rays[2]
    x, y = (np.float32(e) + depth * ray for e, ray in zip(eye[:2], rays[:2], strict=True))
    flat = x.reshape(-1), y.reshape(-1), np.zeros(x.size, np.float32)
    lit = _lit(flat, scene.items, scene.light, lamp, cells.reshape(-1)).reshape(x.shape)
    open_sky: Array = np.ones_like(x)
    for item in scene.items:
        open_sky *= 1 - _floor_occlusion(item, x, y)
    pool = 1 / (1 + (x * x + y * y) * np.float32(1 / _POOL_RADIUS**2))
    key = np.float32(_KEY) * _unit_triple(scene.light)[2]
    rest = np.float32(_SKY + _FILL * _unit_triple(_FILL_LIGHT)[2])
    return pool * (key * lit * (np.float32(0.5) + np.float32(0.5) * open_sky) + rest * open_sky)


def _floor_occlusion(item: Item, x: Array, y: Array) -> Array:
    """Fraction of the sky that an item hides from points of the floor, faint parts cut to 0."""
    half = np.float32(item.half)
    dx, dy = x - np.float32(item.x), y - np.float32(item.y)
    if item.shape == "sphere":
        closeness = half / np.sqrt(dx * dx + dy * dy + half * half)
        hidden: Array = closeness * closeness * closeness
    else:
        # The form factor of a long wall as tall as the item, faded with the distance from its
        # foot, as the item is short.
        radius, height = np.float32(item.radius), 2 * half
        if item.shape == "cylinder":
            gap = np.maximum(np.sqrt(dx * dx + dy * dy) - radius, 0)
        else:
            x, y, _ = _turned(item, (dx, dy, dx))
            beyond_x, beyond_y = _beyond(x, radius), _beyond(y, radius)
            gap = np.sqrt(beyond_x * beyond_x + beyond_y * beyond_y)
        square = gap * gap
        wall = np.float32(0.5) - np.float32(0.5) * gap / np.sqrt(square + height * height)
        hidden = wall * (half * half) / (half * half + square)
    # A shadow with an end keeps an item's influence local.
    return np.maximum(hidden - np.float32(_FAINT), 0)


def _shade_item(
    scene: Scene, item: Item, rays: Vector, depth: Array, lamp: Vector, cells: Cells
) -> tuple[Array, Array]:
    """Diffuse light and white gloss at the P points of an item where `rays` meet it."""
    point = tuple(np.float32(e) + depth * r for e, r in zip(scene.camera.eye, rays, strict=True))
    normal = _turned(item, _normal(item, _local_point(item, point)), sign=1)
    towards = _unit_triple(scene.light)
    key = np.maximum(_dot(normal, towards), 0)
    others = [other for other in scene.items if other is not item]
    key *= _lit(point, others, scene.light, lamp, cells)
    fill = np.maximum(_dot(normal, _unit_triple(_FILL_LIGHT)), 0)
    upward = np.float32(0.5) + np.float32(0.5) * normal[2]
    # The floor an item stands on is dark where they touch, and sends no light back up.
    low = point[2] / (point[2] + np.float32(0.15))
    bounce = (1 - upward) * low
    light = (
        np.float32(_KEY) * key
        + np.float32(_FILL) * fill * (np.float32(0.4) + np.float32(0.6) * low)
        + np.float32(_SKY) * upward
        + np.float32(_BOUNCE) * bounce
    )
    back = _unit(tuple(-ray for ray in rays))
    middle = _unit(tuple(map(operator.add, back, towards)))
    gloss = np.maximum(_dot(normal, middle), 0)
    for _ in range(5):
        gloss = gloss * gloss
    return light, np.float32(_GLOSS) * gloss * (key > 0)


def _albedo(rgb: tuple[float, float, float]) -> Array:
    """Of nominal colours, gamma 2 undone."""
    return ((np.array(rgb) / 255) ** 2).astype(np.float32)


@lru_cache(maxsize=8)
def _vignette(side: int) -> Array:
    offset = (_slopes(side) / np.float32(FIELD)) ** 2
    return 1 - np.float32(_VIGNETTE / 2) * (offset[:, None] + offset[None, :])


def _develop(canvas: Array, supersample: int) -> npt.NDArray[np.uint8]:
    """Average the rays of each pixel, in a fixed order, and encode light as bytes."""
    total = np.zeros_like(canvas[:, ::supersample, ::supersample])
    for row in range(supersample):
        for column in range(supersample):
            total += canvas[:, row::supersample, column::supersample]
    encoded = np.sqrt(total / np.float32(supersample**2)) * np.float32(255)
    return np.minimum(encoded + np.float32(0.5), 255).astype(np.uint8).transpose(1, 2, 0)
