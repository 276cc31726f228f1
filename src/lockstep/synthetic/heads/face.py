"""The face: its outline, large eyes, brows, mouth."""

from __future__ import annotations

import math

import numpy as np

from lockstep.synthetic.heads.characters import Head
from lockstep.synthetic.heads.pen import Pen, arc, flipped, ink, light, path, shade
from lockstep.synthetic.painting import Points, mixed
from lockstep.synthetic.primitives import RGB

_WHITE: RGB = (252, 252, 255)


def outline(head: Head) -> Points:
    """The face without ears; (N, 2)."""
    top = arc((0, -0.15), (0.93, 1.0), math.pi, 2 * math.pi)
    chin = 0.06 * head.turn
    right = path((0.93, -0.15), (0.9, 0.36), (head.jaw, 0.76), (chin, head.chin), bow=0.1)
    left = flipped(path((0.93, -0.15), (0.9, 0.36), (head.jaw, 0.76), bow=0.1), -1)
    last = path((chin, head.chin), (-head.jaw, 0.76), bow=0.1)
    return np.concatenate([top, right, last, left[::-1]])


def skin(pen: Pen, head: Head, cap: Points) -> None:
    """Ears and face, with the shadow of the fringe."""
    line = ink(head.skin)
    for sign in (-1, 1):
        pen.ellipse((sign * 0.93, 0.3), (0.13, 0.21), head.skin, line, -sign * 0.2)
    shape = outline(head)
    pen.fill(shape, head.skin, line)
    with pen.inside(shape) as layer:
        layer.fill(cap + np.array([0.03, 0.1]), shade(head.skin, 0.24))
        moved = 0.12 * head.turn
        for sign in (-1, 1):
            if head.blush:
                x = moved + sign * 0.56
                colour = mixed(head.skin, (246, 112, 122), 0.5 * head.blush)
                layer.ellipse((x, 0.62), (0.2, 0.1), colour)
                for dx in (-0.08, 0.0, 0.08) if head.blush > 0.7 else ():
                    stroke = [(x + dx + 0.03, 0.57), (x + dx - 0.03, 0.67)]
                    layer.stroke(stroke, mixed(colour, (226, 70, 84), 0.5), 0.025)


def features(pen: Pen, head: Head) -> None:
    """Eyes, brows, nose, mouth and marks."""
    moved = 0.12 * head.turn
    _nose(pen, head, moved * 1.25)
    _mouth(pen, head, moved)
    _mark(pen, head, moved)
    for number, sign in enumerate((-1.0, 1.0)):
        # The half of the face that is turned away is narrower.
        near = 1 + 0.1 * head.turn * -sign
        middle = (moved + sign * head.eye_apart * (1 - 0.04 * sign * head.turn), head.eye_y)
        if head.eyelids == "happy" or (head.eyelids == "wink" and sign > 0):
            _closed(pen, head, middle, sign)
        else:
            _eye(pen, head, middle, sign, near, head.irises[number])
        _brow(pen, head, middle, sign)


def _tilted(points: Points, middle: tuple[float, float], sign: float, tilt: float) -> Points:
    """From (outward, down) of an eye's own middle to the face."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    x = points[:, 0] * cos + points[:, 1] * sin
    y = points[:, 1] * cos - points[:, 0] * sin
    return np.stack([middle[0] + sign * x, middle[1] + y], 1)


def _eye(
    pen: Pen, head: Head, middle: tuple[float, float], sign: float, near: float, colour: RGB
) -> None:
    wide, high = head.eye_width * near, head.eye_height
    opened = {"sleepy": 0.35, "cross": 0.62, "wide": 1.12, "sad": 0.8}.get(head.eyelids, 1.0)
    top = -high * opened

    def at(*points: tuple[float, float], bow: float = 0.0) -> Points:
        return _tilted(path(*points, bow=bow), middle, sign, head.eye_tilt)

    upper = at((-wide, 0.02), (-wide * 0.5, top * 0.9), (wide * 0.35, top), (wide, -0.02), bow=0.12)
    lower = at((wide, -0.02), (wide * 0.6, high * 0.86), (-wide * 0.55, high * 0.86), (-wide, 0.02))
    shape = np.concatenate([upper, lower])
    pen.fill(shape, _WHITE)
    small = 0.72 if head.eyelids == "wide" else 1.0
    across, down = wide * 0.74 * small, high * 0.98 * small
    x, y = middle[0] + head.look[0], middle[1] + head.look[1]
    dark = mixed(shade(colour, 0.85), (26, 22, 40), 0.25)
    with pen.inside(shape) as layer:
        lid = np.array([(-1, -1), (1, -1), (1, top + 0.12), (-1, top + 0.1)])
        layer.fill(_tilted(lid, middle, sign, 0.0), shade(_WHITE, 0.25))  # its shadow
        layer.ellipse((x, y), (across, down), dark)
        layer.ellipse((x, y + down * 0.12), (across * 0.84, down * 0.82), shade(colour, 0.3))
        layer.ellipse((x, y + down * 0.4), (across * 0.74, down * 0.54), colour)
        layer.ellipse((x, y + down * 0.62), (across * 0.52, down * 0.3), light(colour, 0.5))
        rx, ry = (0.18, 0.62) if head.pupil == "slit" else (0.4, 0.42)
        layer.ellipse((x, y), (across * rx, down * ry), dark)
        if head.pupil == "ring":
            layer.ellipse((x, y), (across * 0.24, down * 0.26), shade(colour, 0.3))
        layer.ellipse((x - 0.06, y - down * 0.42), (across * 0.36, down * 0.28), _WHITE)
        layer.ellipse((x + across * 0.4, y + down * 0.5), (0.05, 0.055), _WHITE)
    lash = mixed(ink(head.hair), (26, 20, 30), 0.6)
    thick = 0.085 if head.eyelids == "sleepy" else 0.07
    pen.stroke(upper, lash, thick)
    wing = at((wide * 0.7, top * 0.55), (wide * 1.02, -0.02), (wide * 1.22, -0.1), bow=0.1)
    pen.stroke(wing, lash, 0.05)
    pen.stroke(lower[len(lower) // 4 : -len(lower) // 4], shade(head.skin, 0.75), 0.025)
    crease = at((-wide * 0.6, top * 1.22), (wide * 0.5, top * 1.26), bow=0.15)
    pen.stroke(crease, shade(head.skin, 0.6), 0.022)


def _closed(pen: Pen, head: Head, middle: tuple[float, float], sign: float) -> None:
    wide = head.eye_width
    lash = mixed(ink(head.hair), (26, 20, 30), 0.6)
    line = path((-wide, 0.12), (0, -0.1), (wide, 0.12), bow=0.2)
    pen.stroke(_tilted(line, middle, sign, head.eye_tilt), lash, 0.07)
    wing = path((wide, 0.12), (wide * 1.25, 0.06))
    pen.stroke(_tilted(wing, middle, sign, head.eye_tilt), lash, 0.045)


def _brow(pen: Pen, head: Head, middle: tuple[float, float], sign: float) -> None:
    y = middle[1] - head.eye_height - 0.16 - (0.1 if head.eyelids == "wide" else 0)
    wide = head.eye_width * 0.95
    inner = (middle[0] - sign * wide, y + head.brow_tilt * 0.35)
    outer = (middle[0] + sign * wide, y - head.brow_tilt * 0.35)
    pen.stroke(path(inner, outer, bow=0.12 * sign), shade(head.hair, 0.75), 0.045)


def _nose(pen: Pen, head: Head, moved: float) -> None:
    if head.nose:
        y, tip = head.eye_y + 0.34, 0.04 if head.turn >= 0 else -0.04
        stroke = [(moved, y - 0.04), (moved + tip, y + 0.02), (moved, y + 0.035)]
        pen.stroke(stroke, shade(head.skin, 0.65), 0.03)


def _mouth(pen: Pen, head: Head, moved: float) -> None:
    x, y, w = moved, 0.5 * (head.eye_y + 0.3 + head.chin) + 0.08, head.mouth_width
    line = mixed(ink(head.skin), (110, 40, 48), 0.4)
    red: RGB = (206, 86, 92)
    tongue: RGB = (244, 146, 146)
    if head.mouth in ("laugh", "grin"):
        deep = 1.25 if head.mouth == "laugh" else 0.75
        upper = path((x - w, y - 0.05), (x, y - 0.02), (x + w, y - 0.05), bow=-0.05)
        lower = path((x + w, y - 0.05), (x, y + w * deep), (x - w, y - 0.05), bow=0.3)
        shape = np.concatenate([upper, lower])
        pen.fill(shape, red)
        with pen.inside(shape) as layer:
            layer.ellipse((x, y + w * deep), (w * 0.7, w * 0.55), tongue)
            teeth = [(x - 1, y - 1), (x + 1, y - 1), (x + 1, y + 0.03), (x - 1, y + 0.03)]
            layer.fill(teeth, _WHITE)
        pen.stroke(np.concatenate([shape, shape[:1]]), line, 0.035)
    elif head.mouth == "round":
        pen.ellipse((x, y + 0.03), (w * 0.42, w * 0.55), red, line)
    elif head.mouth == "cat":
        for sign in (-1, 1):
            pen.stroke(path((x, y - 0.02), (x + sign * w, y - 0.03), bow=-0.45 * sign), line, 0.04)
    elif head.mouth == "fang":
        pen.stroke(path((x - w, y - 0.03), (x + w, y - 0.03), bow=-0.2), line, 0.04)
        side = x + w * 0.5
        fang = [(side - 0.06, y + 0.02), (side + 0.04, y), (side, y + 0.12)]
        pen.fill(fang, _WHITE, line, 0.02)
    else:
        bow = {"smile": -0.28, "frown": 0.28, "pout": 0.5, "line": -0.04}[head.mouth]
        w = w * 0.5 if head.mouth == "pout" else w * 0.85
        pen.stroke(path((x - w, y), (x + w, y), bow=bow), line, 0.045)
    if head.mouth in ("line", "smile", "pout"):
        pen.stroke([(x - 0.05, y + 0.15), (x + 0.05, y + 0.15)], shade(head.skin, 0.4), 0.03)


def _mark(pen: Pen, head: Head, moved: float) -> None:
    side = 1 if head.jitter[12] > 0 else -1
    x, y = moved + side * 0.58, 0.68
    if head.mark == "mole":
        pen.ellipse((moved + side * 0.42, 0.66), (0.03, 0.03), (70, 40, 40))
    elif head.mark == "plaster":
        strip = np.array([(-0.17, -0.08), (0.17, -0.02), (0.16, 0.07), (-0.18, 0.01)])
        pen.fill(strip + np.array([x, y]), (238, 206, 150), (150, 110, 80), 0.025)
    elif head.mark == "freckles":
        for sign in (-1, 1):
            for dx, dy in ((-0.1, 0.0), (0.0, 0.06), (0.1, 0.01)):
                at = (moved + sign * 0.5 + dx, 0.6 + dy)
                pen.ellipse(at, (0.022, 0.022), shade(head.skin, 0.6))
    elif head.mark == "scar":
        pen.stroke([(x - 0.1, y - 0.14), (x + 0.08, y + 0.12)], (196, 104, 98), 0.04)
