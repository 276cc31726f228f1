"""What an image will show, decided without drawing it, and the annotations of its faces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lockstep.synthetic.painting import pick, stream
from lockstep.synthetic.portraits.camera import DRAWN, TINTED, Camera
from lockstep.synthetic.portraits.head import Light, place, random_light, rolled
from lockstep.synthetic.portraits.people import Person, Pose
from lockstep.synthetic.primitives import RGB, Box, palette

KINDS = {
    "portrait": 0.45,
    "crowd": 0.08,
    "distant": 0.05,
    "compressed": 0.05,
    "noisy": 0.04,
    "turned": 0.05,
    "tilted": 0.045,
    "blurred": 0.04,
    "shaken": 0.03,
    "masked": 0.05,
    "drawing": 0.02,
    "tinted": 0.02,
    "tiny": 0.02,
    "nobody": 0.03,
    "copy": 0.025,
}
"""Kinds of images and their shares.

The face is fit in a portrait, in one far away (80 pixels and more of a large image), in a file
compressed too much, and in weak light's noise. It is unfit if the head is turned or tilted, if
focus or hand failed (`blurred`, `shaken`), behind a mask, as a drawing, in false colours (`tinted`)
and if it is `tiny`. A copy is an earlier portrait cut and scaled anew.
"""

_WHY = {
    **dict.fromkeys(("portrait", "distant", "compressed", "noisy"), "kept"),
    "shaken": "blurred",
    "tiny": "small",
}
_STRAIGHT = {"yaw": 0.13, "pitch": 0.09, "roll": 0.07}
_MASKS = palette("f2f2ee dfe8ee a4c8e4 7fb2d8 2a2c30 1c1c20 e8b8c4 8f949a d8c0a4 3c4a78 78b09c")
_ASPECTS = ((3, 4), (4, 5), (1, 1), (2, 3), (4, 3))


@dataclass(frozen=True)
class Face:
    """A face: where it is, whose, and whether it is fit for the collection.

    `why` is `kept`, or what is wrong: `turned`, `tilted`, `blurred`, `masked`, `drawing`, `tinted`
    or `small`. `kind` is the image's, a copy's that of its original. Two faces with the same
    `identity` are one photograph; only one of them should be kept.
    """

    box: Box  # in pixels
    keep: bool
    why: str
    identity: str
    kind: str


@dataclass(frozen=True)
class Figure:
    """A person in the image: `scale` is half the width of the head, in pixels."""

    person: Person
    pose: Pose
    centre: tuple[float, float]
    scale: float
    why: str
    mask: RGB | None = None  # the colour of the mask over nose and mouth


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
    camera: Camera
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
    return Plan(index, kind, width, height, figures, light, _camera(rng, kind, figures))


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
    kind = planned.kind if copy is None else "portrait"
    found = []
    for number, figure in enumerate(planned.figures):
        box = _face_box(figure)
        if copy is not None:
            left, top = copy.cut[0] * planned.width, copy.cut[1] * planned.height
            moved = (box.left - left, box.top - top, box.right - left, box.bottom - top)
            box = Box(*(edge * copy.scale for edge in moved))
        found.append(Face(box, figure.why == "kept", figure.why, f"{owner}-{number}", kind))
    return tuple(found)


def _size(rng: np.random.Generator, kind: str) -> tuple[int, int]:
    """Width and height; most images have about a third of a megapixel, a few much more."""
    across, down = (4, 3) if kind == "crowd" else _ASPECTS[int(rng.integers(len(_ASPECTS)))]
    longest = 1400 if rng.random() < 0.04 else rng.uniform(520, 760)
    if kind == "distant":
        longest = float(rng.uniform(1100, 1800))
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
    elif kind == "distant":
        scale = float(rng.uniform(44, 68))
    x = width * 0.5 + float(rng.uniform(-1, 1)) * (width * 0.5 - 1.35 * scale) * 0.5
    y = 2.15 * scale + float(rng.uniform(0, 1)) * max(height * 0.92 - 3.9 * scale, 0) * 0.55
    if kind == "distant":
        y = height - scale * float(rng.uniform(4, 8))
    mask = pick(rng, _MASKS, 5) if kind == "masked" else None
    yield Figure(Person(rng), _pose(rng, kind), (x, y), scale, _WHY.get(kind, kind), mask)


def _camera(rng: np.random.Generator, kind: str, figures: Sequence[Figure]) -> Camera:
    """Most cameras do well; the heads' size says how far a failure of focus or hand goes."""
    scale = figures[0].scale if figures else 0.0
    far, angle, amount = float(rng.uniform(0, 1)), float(rng.uniform(0, math.pi)), rng.random()
    if kind == "blurred":
        blur = scale * (0.03 + 0.045 * far)
        if amount < 0.5:
            return Camera(soft=blur, noise=0.7)
        return Camera(defocus=2 * blur, noise=0.7)
    if kind == "shaken":
        shake = scale * (0.2 + 0.2 * far)
        return Camera(soft=0.02 * scale, shake=shake, direction=angle, noise=0.7)
    if kind == "noisy":
        return Camera(soft=0.8, noise=4 + 5 * far, quality=round(70 + 20 * amount))
    if kind == "compressed":
        return Camera(soft=1.2 * far, noise=1.0, quality=round(30 + 30 * amount))
    if kind == "distant":
        return Camera(soft=0.7 * far, noise=1.0, quality=round(60 + 30 * amount))
    filters = {"drawing": DRAWN, "tinted": TINTED}.get(kind)
    return Camera(filter=None if filters is None else filters[int(amount * len(filters))])


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
