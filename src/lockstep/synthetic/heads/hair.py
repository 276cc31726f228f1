"""Hair: what hangs behind the head, the fringe before it, and the locks beside the face."""

from __future__ import annotations

import math

import numpy as np

from lockstep.synthetic.heads.characters import Head
from lockstep.synthetic.heads.pen import Pen, arc, bend, flipped, ink, light, path, shade
from lockstep.synthetic.painting import Points, mixed

_MIDDLE = (0.0, -0.15)  # of the skull


def behind(pen: Pen, head: Head) -> None:
    """All hair that neck, clothes and face cover."""
    dark = shade(head.hair, 0.35)
    line = ink(head.hair)
    if head.back == "ponytail":
        _ponytail(pen, head)
    for sign in (-1.0, 1.0):
        if head.back == "twin tails":
            _tail(pen, head, sign)
        elif head.back == "drills":
            _drill(pen, head, sign)
        elif head.back == "buns":
            pen.ellipse((sign * 0.8, -1.12), (0.44, 0.42), head.hair, line)
            pen.stroke(arc((sign * 0.8, -1.1), (0.24, 0.22), 0.4, 4.6), line, 0.03)
    pen.fill(_mass(head), mixed(dark, shade(head.tips, 0.35), 0.3), line)
    if head.tips != head.hair and head.back in ("long", "bob"):
        with pen.inside(_mass(head)) as layer:
            low = 1.0 if head.back == "long" else 0.5
            layer.fill([(-3, low), (3, low), (3, 4), (-3, 4)], shade(head.tips, 0.3))


def _mass(head: Head) -> Points:
    """The outline of the hair at the back."""
    wide, high = 1.03 + head.volume, 1.12 + head.volume
    top = arc(_MIDDLE, (wide, high), math.pi, 2 * math.pi)
    if head.back == "spikes":
        return _spikes(head, wide, high)
    if head.back == "long":
        low, flare = 1.7 + head.length, wide + 0.1 + 0.35 * head.length
        right = path((wide, -0.15), (wide + 0.06, 0.7), (flare, low), bow=0.06)
        teeth = _teeth(head, flare, low, 0.25)
    elif head.back in ("bob", "braids", "buns"):
        low, flare = 0.85 + 0.35 * head.length, wide + 0.08
        right = path((wide, -0.15), (flare, 0.45), (flare - 0.18, low), bow=0.12)
        teeth = _teeth(head, flare - 0.18, low, 0.14)
    else:
        low = 0.55 + 0.2 * head.length
        right = path((wide, -0.15), (wide - 0.02, 0.25), (wide - 0.22, low), bow=-0.05)
        teeth = _teeth(head, wide - 0.22, low, 0.22)
    left = flipped(right, -1)[::-1]
    return np.concatenate([top, right, teeth, left])


def _teeth(head: Head, half: float, low: float, depth: float) -> Points:
    """The lower rim from right to left."""
    count = head.locks + 2
    xs = np.linspace(half, -half, 2 * count + 1)
    up = np.where(np.arange(len(xs)) % 2, depth, 0.0)
    shaken = 0.06 * np.resize(head.jitter, len(xs))
    return np.stack([xs, low - up + shaken], 1)


def _spikes(head: Head, wide: float, high: float) -> Points:
    points: list[tuple[float, float]] = []
    # From the lower left over the top to the lower right.
    for k, angle in enumerate(np.linspace(math.pi * 0.82, math.pi * 2.18, 19 + 2 * head.locks)):
        far, droop = 1.0, 0.0
        if k % 2:
            far, droop = 1.3 + 0.16 * head.jitter[k % 24] + 0.2 * head.length, 0.1
        x = wide * far * math.cos(angle - droop * math.cos(angle))
        points.append((x, _MIDDLE[1] + high * far * math.sin(angle)))
    return np.array([*points, (0.5, 0.9), (-0.5, 0.9)])


def _tail(pen: Pen, head: Head, sign: float) -> None:
    long = 0.7 * head.length
    sway = 0.15 * head.jitter[3]
    end = (1.6 + sway, 1.3 + long)
    outer = path((0.8, -1.05), (1.45, -0.95), (1.78 + sway, 0.1), end, bow=0.13)
    inner = path(end, (1.3, 0.7), (1.12, 0.0), (0.85, -0.55), bow=0.06)
    tail = flipped(np.concatenate([outer, inner]), sign)
    pen.fill(tail, head.hair, ink(head.hair))
    with pen.inside(tail) as layer:
        if head.tips != head.hair:
            layer.fill([(-3, 0.6), (3, 0.6), (3, 4), (-3, 4)], head.tips)
        under = path((1.2, -0.9), (1.45, 0.2), (1.4, 1.7), bow=-0.1)
        layer.stroke(flipped(under, sign), shade(head.hair, 0.35), 0.05)
        shine = path((1.1, -0.55), (1.62, -0.4), bow=-0.15)
        layer.stroke(flipped(shine, sign), light(head.hair, 0.45), 0.09)


def _drill(pen: Pen, head: Head, sign: float) -> None:
    for k in range(6):
        radius = 0.34 - 0.035 * k
        at = (sign * (1.22 + 0.03 * k), -0.55 + 0.36 * k)
        pen.ellipse(at, (radius, radius * 0.72), head.hair, ink(head.hair), sign * 0.35)
        shine = (at[0] - 0.06, at[1] - 0.05)
        pen.ellipse(shine, (radius * 0.4, radius * 0.16), light(head.hair, 0.4), turn=sign * 0.35)


def _ponytail(pen: Pen, head: Head) -> None:
    sign = 1.0 if head.jitter[5] > 0 else -1.0
    long = 0.6 * head.length
    outer = path((0.1, -1.3), (0.8, -1.62), (1.6, -0.9), (1.75, 0.5 + long), bow=0.18)
    inner = path((1.75, 0.5 + long), (1.35, 0.0), (0.9, -0.75), bow=0.1)
    tail = flipped(np.concatenate([outer, inner]), sign)
    pen.fill(tail, head.hair, ink(head.hair))
    with pen.inside(tail) as layer:
        strand = path((0.6, -1.3), (1.35, -0.75), (1.6, 0.6), bow=-0.15)
        layer.stroke(flipped(strand, sign), shade(head.hair, 0.35), 0.05)


def fringe(head: Head) -> Points:
    """The cap of the hair, whose lower edge is the fringe; (N, 2)."""
    wide, high = 0.99 + 0.6 * head.volume, 1.07 + head.volume
    moved = 0.09 * head.turn
    top = arc((0, _MIDDLE[1]), (wide, high), math.pi, 2 * math.pi, 28)
    count = head.locks
    notches = np.linspace(wide - 0.06, -wide + 0.06, count + 1)
    edge: list[tuple[float, float]] = [(wide, 0.12)]
    for k in range(count):
        a, b = float(notches[k]), float(notches[k + 1])
        lean, tip, notch = _lock(head, (a + b) / 2, k)
        shaken = 0.05 * head.jitter[k]
        point = ((a + b) / 2 + lean + moved, tip + shaken)
        start = edge[-1]
        edge += bend(start, ((start[0] + point[0]) / 2 + 0.09, point[1] - 0.16), point)
        after = (b + moved * (k < count - 1), notch + 0.5 * shaken)
        if k == count - 1:
            after = (-wide, 0.12)
        edge += bend(point, ((after[0] + point[0]) / 2 - 0.05, after[1] + 0.1), after)
    return np.concatenate([top, np.array(edge)])


def _lock(head: Head, x: float, k: int) -> tuple[float, float, float]:
    """How far lock `k` around `x` leans, the y of its tip, and of the notch on its left."""
    low = head.fringe_low
    if head.fringe == "straight":
        return 0.02 * head.jitter[k + 8], low, low - 0.12
    if head.fringe == "spiky":
        return 0.16 * head.jitter[k + 8], low + 0.1, -0.4
    if head.fringe == "middle":
        centre = math.exp(-((x / 0.3) ** 2))
        return 0.03, low - 0.12 + 0.42 * centre, -0.42
    if head.fringe == "swept":
        side = 1 if head.parting > 0 else -1
        slope = (x * side + 1) / 2
        return -0.22 * side, low + 0.2 - 0.6 * slope, low - 0.1 - 0.6 * slope
    away = abs(x - head.parting * (0.3 if head.fringe == "curtain" else 1.0))
    lean = math.copysign(0.14, x - head.parting)
    if head.fringe == "curtain":
        tip = min(low + 0.25, -0.65 + 1.3 * away)
        return lean, tip, tip - 0.35
    tip = min(low + 0.1, -0.5 + 0.85 * away)
    return lean, tip, tip - 0.14


def before(pen: Pen, head: Head, cap: Points) -> None:
    """The fringe with its light, the locks beside the face, the one that stands up."""
    line = ink(head.hair)
    for sign in (-1.0, 1.0) if head.sides else ():
        _side(pen, head, sign)
    if head.ahoge:
        end = (0.38, -1.62 + 0.1 * head.jitter[7])
        outer = path((-0.05, -1.15), (0.02, -1.6), end, bow=0.2)
        inner = path(end, (0.12, -1.45), (0.1, -1.1), bow=-0.1)
        pen.fill(np.concatenate([outer, inner]) * (head.jitter[9] > 0 or -1, 1), head.hair, line)
    pen.fill(cap, head.hair, line)
    with pen.inside(cap) as layer:
        notches = np.linspace(0.85, -0.85, head.locks + 1)
        for k, x in enumerate(notches):
            strand = path((x * 0.62, -0.98), (x * 0.86, -0.55), (x, -0.05), bow=0.05 * np.sign(x))
            layer.stroke(strand, shade(head.hair, 0.3), 0.03 if k % 2 else 0.018)
        _shine(layer, head)
    for sign in (-1.0, 1.0) if head.back == "braids" else ():
        _braid(pen, head, sign)


def _shine(pen: Pen, head: Head) -> None:
    """The bright band around the skull, cut by the locks."""
    wide = 0.86 + 0.5 * head.volume
    low = arc((0, -0.1), (wide, 0.66), math.pi * 1.16, math.pi * 1.84, 15)
    high = arc((0, -0.1), (wide, 0.83), math.pi * 1.84, math.pi * 1.16, 15)
    low[:, 1] += 0.07 * np.where(np.arange(15) % 2, 1, -0.4)
    pen.fill(np.concatenate([low, high]), light(head.hair, 0.42))


def _side(pen: Pen, head: Head, sign: float) -> None:
    low = head.sides + 0.1 * head.jitter[11]
    outer = path((1.0, -0.4), (1.06 + 0.3 * head.volume, 0.4), (0.88, low), bow=0.07)
    inner = path((0.88, low), (0.82, 0.4), (0.8, -0.3), bow=0.06)
    lock = flipped(np.concatenate([outer, inner]), sign) + np.array([0.05 * head.turn, 0])
    pen.fill(lock, head.hair, ink(head.hair))
    with pen.inside(lock) as layer:
        if head.tips != head.hair:
            layer.fill([(-2, low - 0.45), (2, low - 0.45), (2, 3), (-2, 3)], head.tips)
        strand = flipped(path((0.9, -0.3), (0.96, 0.4), (0.88, low), bow=-0.05), sign)
        layer.stroke(strand, shade(head.hair, 0.3), 0.03)


def _braid(pen: Pen, head: Head, sign: float) -> None:
    for k in range(6):
        at = (sign * (0.98 - 0.02 * k), 0.55 + 0.2 * k)
        radii = (0.19 - 0.012 * k, 0.13)
        pen.ellipse(at, radii, head.hair, ink(head.hair), 0.5 if k % 2 else -0.5)
    pen.ellipse((sign * 0.88, 1.72), (0.1, 0.07), head.accent, ink(head.accent))
