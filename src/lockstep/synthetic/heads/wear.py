"""Clothes around the neck, and what is worn on the head."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lockstep.synthetic.heads.characters import Head
from lockstep.synthetic.heads.pen import Pen, arc, flipped, ink, light, path, shade
from lockstep.synthetic.painting import ellipse, mixed
from lockstep.synthetic.primitives import RGB

_GOLD: RGB = (246, 206, 92)


def body(pen: Pen, head: Head) -> None:
    """Neck and shoulders in clothes."""
    line = ink(head.cloth)
    neck = [(-0.3, 0.7), (0.3, 0.7), (0.36, 1.5), (-0.36, 1.5)]
    pen.fill(neck, shade(head.skin, 0.22), ink(head.skin))
    right = path((0.3, 1.22), (0.85, 1.34), (1.3, 1.62), (1.46, 5.0), bow=0.08)
    shape = np.concatenate([right, flipped(right, -1)[::-1]])
    pen.fill(shape, head.cloth, line)
    with pen.inside(shape) as layer:
        layer.fill([(0.95, 1.2), (1.9, 1.2), (1.9, 3), (1.15, 3)], shade(head.cloth, 0.25))
        _COLLARS[head.collar](layer, head)


def _vee(pen: Pen, head: Head, low: float, wide: float = 0.36) -> None:
    """Skin in the opening of a collar."""
    pen.fill([(-wide, 1.1), (wide, 1.1), (0.0, low)], head.skin, ink(head.cloth))


def _sailor(pen: Pen, head: Head) -> None:
    _vee(pen, head, 1.9)
    for sign in (-1, 1):
        flap = flipped([(0.24, 1.1), (0.98, 1.3), (1.0, 1.75), (0.05, 2.05)], sign)
        pen.fill(flap, head.trim, ink(head.trim))
        pen.stroke(flipped([(0.92, 1.32), (0.93, 1.68), (0.1, 1.95)], sign), light(head.trim, 0.8))
    _bow(pen, (0, 1.95), 0.3, head.accent)


def _shirt(pen: Pen, head: Head) -> None:
    _vee(pen, head, 1.55, 0.3)
    for sign in (-1, 1):
        flap = flipped([(0.28, 1.12), (0.56, 1.3), (0.36, 1.68), (0.02, 1.5)], sign)
        pen.fill(flap, light(head.cloth, 0.6), ink(head.cloth))
    pen.fill([(-0.1, 1.5), (0.1, 1.5), (0.2, 3), (-0.2, 3)], head.accent, ink(head.accent))


def _turtleneck(pen: Pen, head: Head) -> None:
    rim = path((-0.4, 1.12), (0.4, 1.12), bow=-0.2)
    low = path((0.46, 1.42), (-0.46, 1.42), bow=0.2)
    pen.fill(np.concatenate([rim, low]), light(head.cloth, 0.2), ink(head.cloth))


def _hoodie(pen: Pen, head: Head) -> None:
    _vee(pen, head, 1.5, 0.34)
    for sign in (-1, 1):
        hood = path((0.3, 1.15), (0.9, 1.2), (0.85, 1.6), (0.05, 1.7), bow=0.1)
        pen.fill(flipped(hood, sign), shade(head.cloth, 0.15), ink(head.cloth))
        pen.stroke([(sign * 0.2, 1.62), (sign * 0.22, 2.1)], head.trim, 0.06)


def _dress(pen: Pen, head: Head) -> None:
    skin = np.concatenate([path((-1.3, 1.0), (1.3, 1.0)), path((0.8, 1.5), (-0.8, 1.5), bow=0.3)])
    pen.fill(skin, head.skin, ink(head.cloth))
    for sign in (-1, 1):
        pen.stroke([(sign * 0.62, 1.2), (sign * 0.6, 1.8)], head.cloth, 0.14)
    pen.stroke(arc((0, 1.1), (0.34, 0.22), 0, math.pi), head.accent, 0.06)


def _jacket(pen: Pen, head: Head) -> None:
    pen.fill([(-0.35, 1.1), (0.35, 1.1), (0.0, 2.6)], light(head.trim, 0.6), ink(head.cloth))
    _vee(pen, head, 1.45, 0.28)
    for sign in (-1, 1):
        lapel = flipped([(0.3, 1.15), (0.7, 1.5), (0.45, 1.65), (0.0, 2.6)], sign)
        pen.fill(lapel, shade(head.cloth, 0.2), ink(head.cloth))
    _bow(pen, (0, 1.6), 0.18, head.accent)


def _kimono(pen: Pen, head: Head) -> None:
    _vee(pen, head, 1.95, 0.4)
    for sign in (1, -1):
        band = flipped([(0.34, 1.1), (0.6, 1.15), (-0.1, 2.3), (-0.3, 2.1)], sign)
        pen.fill(band, head.trim, ink(head.trim))
    for x, y in ((-0.9, 1.75), (0.85, 1.7), (-0.65, 2.0)):
        pen.ellipse((x, y), (0.1, 0.1), head.accent)


_COLLARS: dict[str, Callable[[Pen, Head], None]] = {
    "sailor": _sailor,
    "shirt": _shirt,
    "turtleneck": _turtleneck,
    "hoodie": _hoodie,
    "dress": _dress,
    "jacket": _jacket,
    "kimono": _kimono,
}


def _bow(pen: Pen, at: tuple[float, float], size: float, colour: RGB, turn: float = 0.0) -> None:
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[cos, sin], [-sin, cos]])
    for sign in (-1, 1):
        loop = path((0, 0), (1.0, -0.62), (1.1, 0.55), (0, 0), bow=-0.12) * (sign * size, size)
        pen.fill(loop @ matrix + at, colour, ink(colour))
        fold = np.array([(0.1, 0.0), (0.6, 0.02)]) * (sign * size, size)
        pen.stroke(fold @ matrix + at, shade(colour, 0.5), 0.03)
    pen.ellipse(at, (size * 0.26, size * 0.28), shade(colour, 0.2), ink(colour))


def behind(pen: Pen, head: Head) -> None:
    """What is worn and lies behind the hair."""
    if head.worn == "halo":
        rim = ellipse((0, -1.5), (0.62, 0.14))
        pen.stroke(np.concatenate([rim, rim[:1]]), _GOLD, 0.09)
    if head.worn == "horns":
        for sign in (-1, 1):
            outer = path((0.55, -0.95), (1.0, -1.25), (0.85, -1.68), bow=-0.2)
            inner = path((0.85, -1.68), (0.8, -1.3), (0.35, -1.1), bow=0.15)
            horn = flipped(np.concatenate([outer, inner]), sign)
            pen.fill(horn, mixed(head.accent, (70, 50, 60), 0.6), (40, 28, 36))


def before(pen: Pen, head: Head) -> None:
    """What is worn over the hair."""
    if head.worn in _WORN:
        _WORN[head.worn](pen, head)


def glasses(pen: Pen, head: Head) -> None:
    """Rims around both eyes and the bridge between them."""
    if head.glasses is None:
        return
    frame = shade(head.accent, 0.6)
    moved, y = 0.12 * head.turn, head.eye_y + 0.05
    rx, ry, corner = (0.34, 0.33, 1.0) if head.glasses == "round" else (0.35, 0.25, 0.45)
    unit = ellipse((0, 0), (1, 1))
    unit = np.sign(unit) * np.abs(unit) ** corner
    for sign in (-1, 1):
        rim = unit * (rx, ry) + (moved + sign * 0.45, y)
        pen.stroke(np.concatenate([rim, rim[:1]]), frame, 0.05)
    pen.stroke([(moved - 0.12, y - 0.03), (moved + 0.12, y - 0.03)], frame, 0.05)


def _side_of(head: Head) -> int:
    return 1 if head.jitter[13] > 0 else -1


def _ribbon(pen: Pen, head: Head) -> None:
    side = _side_of(head)
    _bow(pen, (side * 0.68, -0.98), 0.42, head.accent, -side * 0.6)


def _two_ribbons(pen: Pen, head: Head) -> None:
    for sign in (-1, 1):
        _bow(pen, (sign * 0.95, -0.72), 0.32, head.accent, -sign * 0.8)


def _cat_ears(pen: Pen, head: Head) -> None:
    for sign in (-1, 1):
        ear = path((0.3, -1.12), (0.82, -1.72), (0.98, -0.72), bow=0.05)
        pen.fill(flipped(ear, sign), head.hair, ink(head.hair))
        inner = path((0.5, -1.1), (0.79, -1.5), (0.86, -0.88), bow=0.05)
        pen.fill(flipped(inner, sign), mixed(head.skin, (246, 130, 150), 0.5))


def _crown(head: Head, low: float, grown: float = 0.08) -> np.ndarray:
    """The part of the skull above `low`, a little larger than the hair."""
    wide, high = 1.0 + 0.6 * head.volume + grown, 1.1 + head.volume + grown
    start = math.asin(min(1.0, max(-1.0, (low + 0.15) / high)))
    return arc((0, -0.15), (wide, high), math.pi - start, 2 * math.pi + start, 24)


def _cap(pen: Pen, head: Head) -> None:
    pen.fill(_crown(head, -0.62), head.accent, ink(head.accent))
    rim = path((-0.95, -0.66), (0.95, -0.66), bow=-0.06)
    peak = path((0.95, -0.66), (-0.95, -0.66), bow=0.28)
    pen.fill(np.concatenate([rim, peak]), shade(head.accent, 0.35), ink(head.accent))
    pen.ellipse((0, -0.98), (0.2, 0.17), light(head.accent, 0.7), ink(head.accent))


def _beret(pen: Pen, head: Head) -> None:
    side = _side_of(head)
    pen.ellipse((side * 0.2, -1.12), (1.12, 0.5), head.accent, ink(head.accent), side * 0.18)
    pen.ellipse((side * 0.0, -0.98), (0.75, 0.1), shade(head.accent, 0.2), turn=side * 0.18)
    pen.stroke([(side * 0.25, -1.58), (side * 0.3, -1.74)], ink(head.accent), 0.06)


def _witch_hat(pen: Pen, head: Head) -> None:
    dark = mixed(head.accent, (40, 32, 60), 0.55)
    cone = path((-0.85, -0.78), (-0.35, -1.5), (0.3, -1.95), (0.85, -0.78), bow=0.05)
    pen.fill(cone, dark, ink(dark))
    pen.fill([(-0.8, -0.98), (0.8, -0.98), (0.84, -0.78), (-0.84, -0.78)], head.trim)
    pen.ellipse((0, -0.74), (1.42, 0.22), dark, ink(dark))
    pen.ellipse((0, -0.78), (0.8, 0.09), shade(dark, 0.5))


def _band(pen: Pen, head: Head) -> None:
    rim = arc((0, -0.1), (1.03 + 0.6 * head.volume, 1.02), math.pi * 1.08, math.pi * 1.92, 24)
    pen.stroke(rim, ink(head.accent), 0.19)
    pen.stroke(rim, head.accent, 0.13)
    if head.jitter[14] > 0.2:
        _bow(pen, (_side_of(head) * 0.6, -0.92), 0.26, head.accent, -_side_of(head) * 0.5)


def _headphones(pen: Pen, head: Head) -> None:
    wide = 1.08 + 0.6 * head.volume
    pen.stroke(arc((0, 0.1), (wide, 1.5), math.pi * 1.02, math.pi * 1.98, 24), (62, 60, 70), 0.12)
    for sign in (-1, 1):
        pen.ellipse((sign * wide, 0.22), (0.2, 0.34), head.accent, ink(head.accent))
        pen.ellipse((sign * wide, 0.22), (0.09, 0.18), light(head.accent, 0.6))


def _flower(pen: Pen, head: Head) -> None:
    x, y = _side_of(head) * 0.72, -0.72
    for k in range(5):
        angle = k * math.tau / 5 - math.pi / 2
        at = (x + 0.17 * math.cos(angle), y + 0.17 * math.sin(angle))
        pen.ellipse(at, (0.15, 0.15), head.accent, ink(head.accent), width=0.025)
    pen.ellipse((x, y), (0.1, 0.1), _GOLD)


def _hairpin(pen: Pen, head: Head) -> None:
    side = _side_of(head)
    for y in (-0.42, -0.42 - 0.17):
        pen.stroke([(side * 0.45, y), (side * 0.82, y - 0.1)], head.accent, 0.085)


_WORN: dict[str, Callable[[Pen, Head], None]] = {
    "ribbon": _ribbon,
    "two ribbons": _two_ribbons,
    "cat ears": _cat_ears,
    "cap": _cap,
    "beret": _beret,
    "witch hat": _witch_hat,
    "band": _band,
    "headphones": _headphones,
    "flower": _flower,
    "hairpin": _hairpin,
}
