"""What stands where: random scenes of coloured solids on a studio floor.

The floor is the plane z = 0; x runs to the right of the image, y away from the camera and z
upwards. All lengths share one arbitrary unit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from lockstep.data.clevr import COLOURS, SHAPES, check_known, object_id
from lockstep.synthetic.primitives import Box, Triple

Objects: TypeAlias = Sequence[tuple[str, str]]
Forbidden: TypeAlias = Collection[frozenset[str]]

TARGET = (0.0, 0.15, 0.55)
FIELD = 0.205
"""Tangent of half the field of view, the same across and up: images are square."""
SIZES = {"large": 0.72, "small": 0.42}
"""Radius of the sphere of each named size; the other solids are cut to look as large."""

MOST_ITEMS = 5
"""Most items for which large ones dependably find room."""
MARGIN = 0.02
"""Bare border kept around every item, as a fraction of the image's side."""
GAP = 0.15
"""Bare floor kept between any two items."""
MOST_COVERED = 0.22
"""Most of an item's box that those of nearer items may overlap. A solid fills at least some two
thirds of its box, so that no more than about a third of its own pixels can be hidden."""

_PROPORTION = {"cube": 0.82, "sphere": 1.0, "cylinder": 0.95}
_SLIMNESS = {"cube": 1.0, "sphere": 1.0, "cylinder": 0.76}
_FOOT = {"cube": math.sqrt(2), "sphere": 1.0, "cylinder": 1.0}
_EYE = (0.0, -9.6, 5.6)
_EYE_JITTER = 0.4
_LIGHT = (-0.75, -0.5, 1.0)
_LIGHT_JITTER = 0.12
_SCALE_JITTER = 0.05
_STAGE = ((-2.3, 2.3), (-3.0, 2.8))
_RIM_POINTS = 16
_PLACE_TRIES = 40
_SCENE_TRIES = 400
_CHOICE_TRIES = 1000


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at `eye` that looks at `TARGET` and is never tilted sideways."""

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


@dataclass(frozen=True)
class Item:
    """One solid standing on the floor.

    Raises
    ------
    ValueError
        If a name is unknown or `scale` is not positive.
    """

    shape: str  # one of `SHAPES`
    colour: str  # one of `COLOURS`
    size: str  # one of the names in `SIZES`
    x: float  # of the footprint's centre
    y: float
    rotation: float  # about the vertical axis, in radians
    scale: float = 1.0  # factor by which the item departs from its named size

    def __post_init__(self) -> None:
        check_known("shape", self.shape, SHAPES)
        check_known("colour", self.colour, COLOURS)
        check_known("size", self.size, SIZES)
        if not self.scale > 0:
            raise ValueError(f"scale {self.scale!r} is not positive; give a factor near 1")

    @property
    def name(self) -> str:
        """Colour and shape, such as ``red cube``."""
        return f"{self.colour} {self.shape}"

    @property
    def half(self) -> float:
        """Half the height."""
        return SIZES[self.size] * self.scale * _PROPORTION[self.shape]

    @property
    def radius(self) -> float:
        """Half the width: the radius, or half the side of a cube."""
        return self.half * _SLIMNESS[self.shape]

    @property
    def foot(self) -> float:
        """Radius of the smallest upright tube that holds the item."""
        return self.radius * _FOOT[self.shape]

    @property
    def centre(self) -> Triple:
        """Middle of the solid."""
        return self.x, self.y, self.half


@dataclass(frozen=True)
class Scene:
    """Items on the floor, in the order in which they were put down, under a camera and a light.

    Raises
    ------
    ValueError
        If `light` points below the floor or straight up.
    """

    items: tuple[Item, ...]
    camera: Camera
    light: Triple  # towards the lamp, of any length

    def __post_init__(self) -> None:
        if self.light[2] <= 0 or self.light[0] == self.light[1] == 0:
            raise ValueError(f"light {self.light} is not aslant from above; tilt it")

    def prefix(self, k: int) -> Scene:
        """Return the same scene with only its first `k` items.

        Raises
        ------
        ValueError
            If `k` is not in 0 to ``len(items)``.
        """
        if not 0 <= k <= len(self.items):
            raise ValueError(f"prefix {k} of a scene of {len(self.items)}; give 0 to that many")
        return replace(self, items=self.items[:k])


class Place(NamedTuple):
    """Where an item's centre lies in the image."""

    u: float  # 0 at the left to 1 at the right
    v: float  # 0 at the top to 1 at the bottom
    depth: float  # distance in front of the camera


def places(scene: Scene) -> tuple[Place, ...]:
    """Return where the centre of each item of `scene` lies in the image, in their order."""
    return tuple(_place(scene.camera, item) for item in scene.items)


def boxes(scene: Scene) -> tuple[Box, ...]:
    """Return a box of the image, 0 to 1, that holds each item of `scene`, in their order."""
    return tuple(_box(scene.camera, item) for item in scene.items)


def sample_scene(
    seed: int,
    index: int,
    objects: Objects | None = None,
    count: int = 3,
    forbidden: Forbidden = (),
    sizes: Sequence[str] = ("large",),
    distance: float = 1.0,
) -> Scene:
    """Sample the scene numbered `index` of the collection `seed`.

    Parameters
    ----------
    seed, index
        Non-negative integers; the scene is a function of these and the arguments below alone.
    objects
        (shape, colour) pairs to place, in this order; by default `count` random distinct ones.
    count
        How many items to choose, 1 to `MOST_ITEMS`; unused where `objects` is given.
    forbidden
        Sets of names, such as ``frozenset({"red cube", "blue sphere"})``, that no prefix of
        the scene may consist of.
    sizes
        Names out of `SIZES` from which each item's size is drawn.
    distance
        Of the camera, 0.5 to 2: a factor on the default one, at which three large items find room.
        Nearer shows items larger, and fewer find room.

    Returns
    -------
    Scene
        Items apart from each other, wholly inside the image and mostly visible.

    Raises
    ------
    ValueError
        If an argument is out of range, or no scene that satisfies them all was found.
    """
    if not 0.5 <= distance <= 2:
        raise ValueError(f"distance {distance!r}; give 0.5 to 2")
    _check_arguments(seed, index, objects, count, sizes)
    rng = np.random.default_rng([seed, index])
    # On the default line of sight.
    x, y, z = (eye + (distance - 1) * (eye - t) for t, eye in zip(TARGET, _EYE, strict=True))
    camera = Camera(_jittered(rng, (x, y, z), _EYE_JITTER * distance))
    light = _jittered(rng, _LIGHT, _LIGHT_JITTER)
    if objects is None:
        objects = _choose_objects(rng, count, forbidden)
    elif _has_forbidden_prefix(objects, forbidden):
        raise ValueError(f"objects {list(objects)} have a forbidden prefix; give others")
    # Once: drawn anew wherever an item finds no room, most would be small.
    chosen = [sizes[i] for i in rng.integers(len(sizes), size=len(objects)).tolist()]
    for _ in range(_SCENE_TRIES):
        items = _try_items(rng, camera, objects, chosen)
        if items is not None:
            return Scene(items, camera, light)
    raise ValueError(
        f"no room found for {len(objects)} items of sizes {list(sizes)}; give fewer, or a greater "
        "distance"
    )


def _check_arguments(
    seed: int, index: int, objects: Objects | None, count: int, sizes: Sequence[str]
) -> None:
    for label, number in {"seed": seed, "index": index}.items():
        if number < 0:
            raise ValueError(f"{label} {number} is negative; give 0 or more")
    if not sizes:
        raise ValueError(f"sizes is empty; give some of {', '.join(SIZES)}")
    for size in sizes:
        check_known("size", size, SIZES)
    if objects is not None:
        ids = [object_id(shape, colour) for shape, colour in objects]
        if len(set(ids)) < len(ids):
            raise ValueError(f"objects {list(objects)} repeat one; give distinct pairs")
        count = len(ids)
    if not 1 <= count <= MOST_ITEMS:
        raise ValueError(f"a scene of {count} items; give 1 to {MOST_ITEMS}")


def _jittered(rng: np.random.Generator, base: Triple, reach: float) -> Triple:
    x, y, z = (b + d for b, d in zip(base, rng.uniform(-reach, reach, 3).tolist(), strict=True))
    return x, y, z


def _choose_objects(rng: np.random.Generator, count: int, forbidden: Forbidden) -> Objects:
    for _ in range(_CHOICE_TRIES):
        ids = rng.choice(len(SHAPES) * len(COLOURS), size=count, replace=False).tolist()
        objects = [(SHAPES[i // len(COLOURS)], COLOURS[i % len(COLOURS)]) for i in ids]
        if not _has_forbidden_prefix(objects, forbidden):
            return objects
    raise ValueError(
        f"every one of {_CHOICE_TRIES} choices of {count} objects was forbidden; forbid fewer"
        f" than these {len(forbidden)} sets"
    )


def _has_forbidden_prefix(objects: Objects, forbidden: Forbidden) -> bool:
    names = [f"{colour} {shape}" for shape, colour in objects]
    return any(frozenset(names[: k + 1]) in forbidden for k in range(len(names)))


def _try_items(
    rng: np.random.Generator, camera: Camera, objects: Objects, sizes: Sequence[str]
) -> tuple[Item, ...] | None:
    """Put the objects down one after another; None where one finds no room."""
    items: tuple[Item, ...] = ()
    for (shape, colour), size in zip(objects, sizes, strict=True):
        for _ in range(_PLACE_TRIES):
            x, y = (float(rng.uniform(*span)) for span in _STAGE)
            rotation = float(rng.uniform(0, 2 * math.pi))
            scale = float(rng.uniform(1 - _SCALE_JITTER, 1 + _SCALE_JITTER))
            item = Item(shape, colour, size, x, y, rotation, scale)
            if _stands_apart(item, items) and _well_seen(camera, (*items, item)):
                items = (*items, item)
                break
        else:
            return None
    return items


def _stands_apart(item: Item, others: Iterable[Item]) -> bool:
    return all(
        math.hypot(item.x - other.x, item.y - other.y) >= item.foot + other.foot + GAP
        for other in others
    )


def _well_seen(camera: Camera, items: Sequence[Item]) -> bool:
    """Whether the last item is inside the frame and no item is covered too far."""
    seen = [(_place(camera, item).depth, _box(camera, item)) for item in items]
    last = seen[-1][1]
    if min(last.left, last.top) < MARGIN or max(last.right, last.bottom) > 1 - MARGIN:
        return False
    return all(
        sum(_overlap(box, other) for near, other in seen if near < depth)
        <= MOST_COVERED * _overlap(box, box)
        for depth, box in seen
    )


def _overlap(a: Box, b: Box) -> float:
    across = min(a.right, b.right) - max(a.left, b.left)
    down = min(a.bottom, b.bottom) - max(a.top, b.top)
    return max(across, 0.0) * max(down, 0.0)


def _place(camera: Camera, item: Item) -> Place:
    right, up, depth = camera.view(item.centre)
    return Place(_u(right / depth), _v(up / depth), depth)


def _u(slope: float) -> float:
    """Image column in [0, 1], from the left, of a ray that goes `slope` right per forward."""
    return 0.5 + slope / (2 * FIELD)


def _v(slope: float) -> float:
    """Image row in [0, 1], from the top, of a ray that goes `slope` up per forward."""
    return 0.5 - slope / (2 * FIELD)


def _box(camera: Camera, item: Item) -> Box:
    if item.shape == "sphere":
        right, up, depth = camera.view(item.centre)
        across = _tangent_slopes(right, depth, item.half)
        along = _tangent_slopes(up, depth, item.half)
    else:
        views = [camera.view(point) for point in _rim(item)]
        across = [right / depth for right, _, depth in views]
        along = [up / depth for _, up, depth in views]
    return Box(_u(min(across)), _v(max(along)), _u(max(across)), _v(min(along)))


def _tangent_slopes(side: float, depth: float, radius: float) -> list[float]:
    """Slopes of the two lines from the origin that touch a circle around (depth, side)."""
    reach = math.sqrt(side**2 + depth**2 - radius**2)
    return [
        (side * reach + sign * depth * radius) / (depth * reach - sign * side * radius)
        for sign in (-1, 1)
    ]


def _rim(item: Item) -> list[Triple]:
    """Points above and below whose hull holds the item: corners, or a polygon around a disc."""
    if item.shape == "cube":
        corners, radius = 4, item.foot
    else:
        corners, radius = _RIM_POINTS, item.foot / math.cos(math.pi / _RIM_POINTS)
    turns = [item.rotation + (0.5 + i) * 2 * math.pi / corners for i in range(corners)]
    return [
        (item.x + radius * math.cos(turn), item.y + radius * math.sin(turn), z)
        for turn in turns
        for z in (0.0, 2 * item.half)
    ]
