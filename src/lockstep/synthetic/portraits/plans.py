"""What an image will show, decided without drawing it, and the annotations of its faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lockstep.synthetic.painting import stream
from lockstep.synthetic.portraits.head import Light, place, random_light, rolled
from lockstep.synthetic.portraits.people import Person, Pose
from lockstep.synthetic.primitives import Box

KINDS = {
    "portrait": 0.62,
    "crowd": 0.07,
    "turned": 0.07,
    "tilted": 0.06,
    "blurred": 0.06,
    "tiny": 0.04,
    "nobody": 0.05,
    "copy": 0.03,
}
"""Kinds of images and their shares. A copy is an earlier portrait cut and scaled anew."""

_STRAIGHT = {"yaw": 0.13, "pitch": 0.09, "roll": 0.035}
_ASPECTS = ((3, 4), (4, 5), (1, 1), (2, 3), (4, 3))


@dataclass(frozen=True)
class Face:
    """A face: where it is, whose, and whether it is fit for the collection.

    `why` is `kept`, or what is wrong: `turned`, `tilted`, `blurred` or `small`. Two faces with
    the same `identity` are one photograph; only one of them should be kept.
    """

    box: Box  # in pixels
    keep: bool
    why: str
    identity: str


@dataclass(frozen=True)
class Figure:
    """A person in the image: `scale` is half the width of the head, in pixels."""

    person: Person
    pose: Pose
    centre: tuple[float, float]
    scale: float
    why: str


@dataclass(frozen=True)
class Copy:
    """How a copy differs: the part of the original it shows, its scale and its brightness."""

    of: int
    cut: tuple[float, float, float, float]  # shares cut off left, top, right, bottom
    scale: float
    brightness: float


@dataclass(frozen=True)
class Plan:
    """Everything about an image but its pixels; people farther away come first."""

    index: int
    kind: str
    width: int
    height: int
    figures: tuple[Figure, ...]
    light: Light
    blur: float  # standard deviation in pixels, 0 for a sharp image
    copy: Copy | None = None


def kind_of(seed: int, index: int) -> str:
    """The kind of image `index` of the collection `seed`."""
    shares = np.cumsum(list(KINDS.values()))
    kind = list(KINDS)[int(np.searchsorted(shares, stream(seed, index, 0).random() * shares[-1]))]
    return "portrait" if kind == "copy" and index == 0 else kind


def plan(seed: int, index: int) -> Plan:
    """What image `index` of the collection `seed` shows; it depends on nothing else."""
    kind = kind_of(seed, index)
    rng = stream(seed, index, 1)
    if kind == "copy":
        return _copy(seed, index, rng)
    width, height = _size(rng, kind)
    light = random_light(rng)
    figures = tuple(_figures(rng, kind, width, height))
    blur = figures[0].scale * float(rng.uniform(0.042, 0.075)) if kind == "blurred" else 0.0
    return Plan(index, kind, width, height, figures, light, blur)


def annotated_faces(seed: int, index: int) -> tuple[Face, ...]:
    """The faces in image `index` of the collection `seed`, known without drawing it.

    Raises
    ------
    ValueError
        If `seed` or `index` is negative.
    """
    planned = plan(seed, index)
    copy = planned.copy
    owner = index if copy is None else copy.of
    found = []
    for number, figure in enumerate(planned.figures):
        box = _face_box(figure)
        if copy is not None:
            left, top = copy.cut[0] * planned.width, copy.cut[1] * planned.height
            moved = (box.left - left, box.top - top, box.right - left, box.bottom - top)
            box = Box(*(edge * copy.scale for edge in moved))
        found.append(Face(box, figure.why == "kept", figure.why, f"{owner}-{number}"))
    return tuple(found)


def _size(rng: np.random.Generator, kind: str) -> tuple[int, int]:
    """Width and height; most images have about a third of a megapixel, a few much more."""
    across, down = (4, 3) if kind == "crowd" else _ASPECTS[int(rng.integers(len(_ASPECTS)))]
    longest = 1400 if rng.random() < 0.04 else rng.uniform(520, 760)
    if kind == "crowd":
        longest = max(longest, float(rng.uniform(740, 940)))
    scale = longest / max(across, down)
    return round(across * scale), round(down * scale)


def _pose(rng: np.random.Generator, kind: str) -> Pose:
    yaw, pitch, roll = (float(rng.uniform(-most, most)) for most in _STRAIGHT.values())
    side = 1 if rng.random() < 0.5 else -1
    if kind == "turned":
        yaw = side * float(rng.uniform(0.62, 0.95))
    elif kind == "tilted":
        roll = side * float(rng.uniform(0.16, 0.45))
    return Pose(yaw, pitch, roll)


def _figures(rng: np.random.Generator, kind: str, width: int, height: int) -> Iterator[Figure]:
    if kind == "crowd":
        yield from _crowd(rng, width, height)
    if kind in ("crowd", "nobody"):
        return
    side = min(width, height)
    low, high = (0.03, 0.055) if kind == "tiny" else (0.175, 0.25)
    scale = side * float(rng.uniform(low, high))
    if kind == "tiny":
        scale = min(scale, 34.0)
    x = width * 0.5 + float(rng.uniform(-1, 1)) * (width * 0.5 - 1.35 * scale) * 0.5
    y = 2.15 * scale + float(rng.uniform(0, 1)) * max(height * 0.92 - 3.9 * scale, 0) * 0.55
    why = {"portrait": "kept", "tiny": "small"}.get(kind, kind)
    yield Figure(Person(rng), _pose(rng, kind), (x, y), scale, why)


def _crowd(rng: np.random.Generator, width: int, height: int) -> Iterator[Figure]:
    """Two to four people side by side, mostly facing us; sometimes somebody far behind."""
    count = int(rng.integers(2, 5))
    room = width / count
    if rng.random() < 0.4:
        at = (float(rng.uniform(0.1, 0.9)) * width, height * 0.16)
        yield Figure(Person(rng), _pose(rng, "tiny"), at, float(rng.uniform(12, 18)), "small")
    for k in range(count):
        scale = min(room / 2.7, height * 0.2) * float(rng.uniform(0.88, 1.0))
        kind = ("turned", "tilted")[int(rng.integers(2))] if rng.random() < 0.2 else "portrait"
        x = room * (k + 0.5) + float(rng.uniform(-0.06, 0.06)) * room
        y = height * 0.5 + float(rng.uniform(-0.09, 0.05)) * height
        why = "kept" if kind == "portrait" else kind
        yield Figure(Person(rng), _pose(rng, kind), (x, y), scale, why)


def _copy(seed: int, index: int, rng: np.random.Generator) -> Plan:
    """A portrait from before this one, cut a little, scaled and re-exposed."""
    for _ in range(1000):
        original = int(rng.integers(index))
        if kind_of(seed, original) == "portrait":
            break
    else:
        return replace(plan(seed, 0), index=index)
    left, top, right, bottom = (float(rng.uniform(0, 0.04)) for _ in range(4))
    scale, brightness = float(rng.uniform(0.75, 0.95)), float(rng.uniform(-14, 14))
    copy = Copy(original, (left, top, right, bottom), scale, brightness)
    return replace(plan(seed, original), index=index, kind="copy", copy=copy)


def _face_box(figure: Figure) -> Box:
    """The square from above the brows to the chin that face detectors report."""
    across, down = rolled(*place((0.0, 0.42, 0.7), figure.pose), figure.pose)
    x = figure.centre[0] + across * figure.scale
    y = figure.centre[1] + down * figure.scale
    half = 0.97 * figure.scale
    return Box(x - half, y - half, x + half, y + half)
