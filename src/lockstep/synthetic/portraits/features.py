"""The face, painted flat: eyes, brows, nose, mouth, and the relief that catches the light.

The image is a map of the front of the head, x and y in half widths of the head; `paint` gives
its colours and `relief` its heights.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.painting import mixed
from lockstep.synthetic.portraits.canvas import Brush, curve, darker
from lockstep.synthetic.portraits.people import Person
from lockstep.synthetic.primitives import RGB

REACH_X, REACH_Y = 1.2, 1.7
"""The map runs over x in -REACH_X to REACH_X, and y in -REACH_Y to REACH_Y."""


def _bump(side: int, at: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """A Gaussian hill at (x, y) with radii (rx, ry); (side, side)."""
    x, y, rx, ry = at
    xs, ys = _axes(side)
    return np.outer(
        np.exp(-(((ys - y) / np.float32(ry)) ** 2)), np.exp(-(((xs - x) / np.float32(rx)) ** 2))
    )


def _axes(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and y of the columns and rows of a map."""
    xs = np.linspace(-REACH_X, REACH_X, side, dtype=np.float32)
    return xs, np.linspace(-REACH_Y, REACH_Y, side, dtype=np.float32)


def relief(person: Person, side: int = 160) -> NDArray[np.float32]:
    """(side, side) heights above the smooth head."""
    p = person
    hills: list[tuple[float, tuple[float, float, float, float]]] = [
        (0.13, (0, 0.30, 0.10, 0.34)),  # the ridge of the nose
        (0.24, (0, p.nose_y - 0.05, 0.13, 0.13)),  # its tip
        (0.09, (0, p.brow_y - 0.05, 0.6, 0.14)),
        (0.05, (0, p.mouth_y - 0.06, p.mouth_width * 0.7, 0.07)),
        (0.07, (0, p.mouth_y + 0.08, p.mouth_width * 0.6, 0.07)),
        (-0.04, (0, p.mouth_y + 0.2, 0.25, 0.06)),
        (0.10, (0, 1.30, 0.24, 0.15)),  # chin
    ]
    for sign in (-1, 1):
        hills += [
            (-0.13, (sign * p.eye_x, 0.0, 0.22, 0.13)),
            (0.05, (sign * p.eye_x, 0.0, 0.12, 0.08)),
            (0.08, (sign * p.nose_width * 0.72, p.nose_y, 0.08, 0.08)),
            (0.10, (sign * 0.55, 0.45, 0.24, 0.2)),
            (-0.05, (sign * 0.62, 0.95, 0.2, 0.25)),
        ]
    return sum((h * _bump(side, at) for h, at in hills), np.zeros((side, side), np.float32))


def paint(person: Person, scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The colours of the map at `scale` pixels a unit; `rng` places freckles and hairs."""
    width, height = round(2 * REACH_X * scale), round(2 * REACH_Y * scale)
    pixels = _skin(person, rng, width, height)
    brush = Brush(pixels, scale, (width / 2 - 0.5, height / 2 - 0.5))
    for _ in range(person.freckles):
        x, y = rng.normal(0, 0.42), rng.normal(0.42, 0.16)
        brush.ellipse((x, y), (0.010, 0.009), darker(person.skin, 0.8))
    _nose(brush, person)
    _mouth(brush, person)
    for sign in (-1, 1):
        _eye(brush, person, sign)
        _brow(brush, person, sign, rng)
    if person.moustache:
        _moustache(brush, person, rng)
    return pixels


def _skin(person: Person, rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Skin with blush, beard and shades, all soft: painted small and enlarged."""
    p, side = person, 96
    colour = np.full((side, side, 3), p.skin, np.float32)

    def blend(at: tuple[float, float, float, float], to: RGB, share: float) -> None:
        weight = (share * _bump(side, at))[..., None]
        colour[:] = colour * (1 - weight) + np.array(to, np.float32) * weight

    shade = darker(p.skin, 0.68)
    for sign in (-1, 1):
        blend((sign * 0.58, 0.5, 0.25, 0.2), mixed(p.skin, (214, 92, 92), 0.6), p.blush)
        blend((sign * p.eye_x, -0.02, 0.24, 0.13), shade, 0.6)
        blend((sign * (p.eye_x + 0.02), 0.16, 0.16, 0.05), shade, 0.25)
        blend((sign * 0.14, 0.02, 0.06, 0.16), shade, 0.45)
    blend((0, p.nose_y + 0.1, p.nose_width * 1.3, 0.06), shade, 0.75)
    blend((0, p.mouth_y + p.mouth_full + 0.13, 0.2, 0.05), shade, 0.4)
    blend((0, p.nose_y - 0.05, 0.09, 0.1), mixed(p.skin, (255, 250, 244), 0.5), 0.5)
    blend((0, 0.2, 0.05, 0.25), mixed(p.skin, (255, 250, 244), 0.5), 0.35)
    if p.stubble:
        xs, ys = _axes(side)
        y, x = np.meshgrid(ys, np.abs(xs), indexing="ij")
        edge = np.clip((np.hypot(x / 0.62, (y - 0.7) / 0.78) - 0.62) / 0.14, 0, 1)
        edge *= np.clip((y - 0.30 - 0.25 * (1 - x)) / 0.16, 0, 1)
        upper = np.clip(1 - np.abs(y - p.mouth_y + 0.16) / 0.08, 0, 1) * (x < 0.4)
        weight = (p.stubble * 0.85 * np.maximum(edge, 0.8 * upper))[..., None]
        colour = colour * (1 - weight) + np.array(darker(p.hair, 0.9), np.float32) * weight
    colour += rng.normal(0, 2.2, colour.shape).astype(np.float32)
    large = cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR)
    if p.stubble:
        # Single hairs, where the beard is.
        weight = cv2.resize(weight, (width, height))[..., None]
        large += weight * rng.normal(0, 14, (height, width, 1)).astype(np.float32)
    return np.clip(large, 0, 255).astype(np.uint8)


def _eye(brush: Brush, p: Person, sign: int) -> None:
    """An almond with iris and light in it; lids and lashes as strokes."""
    inner, outer = -p.eye_width, p.eye_width

    def at(points: list[tuple[float, float]]) -> NDArray[np.float64]:
        """From (outward, up) of the eye's own centre to the map."""
        q = np.array(points)
        slant = q[:, 0] / p.eye_width * p.eye_slant
        return np.stack([sign * (p.eye_x + q[:, 0]), -q[:, 1] - slant], 1)

    o = p.eye_open
    upper = curve(at([(inner, -0.02), (inner * 0.45, o), (0.05, o * 1.15), (outer, 0.01)]))
    lower = curve(at([(outer, 0.01), (0.08, -o * 0.72), (inner * 0.4, -o * 0.6), (inner, -0.02)]))
    almond = np.concatenate([upper, lower])
    crease = [(inner * 0.9, 0.03), (inner * 0.4, o * 1.75), (0.06, o * 1.95), (outer * 1.1, 0.05)]
    brush.line(curve(at(crease)), darker(p.skin, 0.66), 0.018)
    # The eyeball goes on a layer of its own: the almond cuts the iris.
    left, top = np.floor(almond.min(0) * brush.scale + brush.origin).astype(int) - 2
    right, bottom = np.ceil(almond.max(0) * brush.scale + brush.origin).astype(int) + 3
    window = brush.pixels[top:bottom, left:right]
    ball = np.full(window.shape, (236, 230, 226), np.uint8)
    mask = np.zeros(window.shape[:2], np.uint8)
    origin = (brush.origin[0] - left, brush.origin[1] - top)
    inside = Brush(ball, brush.scale, origin)
    radius = min(0.105, o * 1.25)
    centre = (sign * p.eye_x, -0.006)
    inside.ellipse((sign * p.eye_x, -o * 1.1), (p.eye_width, o * 0.7), (196, 186, 184))
    inside.ellipse(centre, (radius, radius), darker(p.iris, 0.55))
    inside.ellipse(centre, (radius * 0.82, radius * 0.82), p.iris)
    inside.ellipse((centre[0], centre[1] + 0.03), (radius * 0.6, radius * 0.5), darker(p.iris, 1.4))
    inside.ellipse(centre, (radius * 0.48, radius * 0.48), (12, 10, 12))
    inside.ellipse((centre[0] - 0.035, centre[1] - 0.04), (0.024, 0.024), (255, 255, 255))
    Brush(mask, brush.scale, origin).polygon(almond, (255.0, 255.0, 255.0))
    share = (mask.astype(np.float32) / 255)[..., None]
    window[:] = (window * (1 - share) + ball * share).astype(np.uint8)
    lash = mixed((20, 14, 14), darker(p.hair, 0.4), 0.4)
    brush.line(lower, darker(p.skin, 0.55), 0.012)
    brush.line(upper, lash, 0.032)
    wing = curve(at([(outer * 0.6, o * 0.75), (outer, 0.012), (outer * 1.16, 0.035)]), 8)
    brush.line(wing, lash, 0.026)


def _brow(brush: Brush, p: Person, sign: int, rng: np.random.Generator) -> None:
    x = sign * (p.eye_x + np.array([-0.22, 0.02, 0.16, 0.32]))
    y = p.brow_y + np.array([0.03, -p.brow_arch * 0.7, -p.brow_arch, 0.03])
    spine = curve(np.stack([x, y], 1))
    taper = np.interp(np.linspace(0, 1, len(spine)), [0, 0.2, 0.6, 1], [0.55, 1, 0.85, 0.1])
    half = (taper * p.brow_thick / 2)[:, None] * np.array([[0.0, 1.0]])
    colour = mixed(darker(p.hair, 0.75), (30, 24, 22), 0.35)
    brush.polygon(np.concatenate([spine - half, (spine + half)[::-1]]), mixed(colour, p.skin, 0.25))
    for t in rng.uniform(0, 0.9, 22):
        k = int(t * len(spine))
        foot = spine[k] + half[k] * 0.9
        tip = foot + np.array([sign * 0.05, -1.8 * half[k][1]])
        brush.line([foot, tip], colour, 0.008)


def _nose(brush: Brush, p: Person) -> None:
    w, y = p.nose_width, p.nose_y
    shade = darker(p.skin, 0.56)
    for sign in (-1, 1):
        at = (sign * w * 0.48, y + 0.055)
        brush.ellipse(at, (w * 0.27, 0.026), darker(p.skin, 0.34), sign * -0.25)
        wing = [(sign * w * 0.78, y - 0.09), (sign * w, y - 0.01), (sign * w * 0.74, y + 0.06)]
        brush.line(curve(wing, 12), shade, 0.016)
    under = [(-w * 0.32, y + 0.07), (0, y + 0.095), (w * 0.32, y + 0.07)]
    brush.line(curve(under, 10), shade, 0.016)


def _mouth(brush: Brush, p: Person) -> None:
    w, y, full, up = p.mouth_width, p.mouth_y, p.mouth_full, p.smile
    left, right = (-w, y - up), (w, y - up)
    inner = [(-w * 0.45, y + up * 0.15), (0, y + up * 0.35), (w * 0.45, y + up * 0.15)]
    line = curve([left, *inner, right])
    bow = [(-w * 0.5, y - full * 0.62), (-w * 0.14, y - full), (0, y - full * 0.78)]
    bow += [(w * 0.14, y - full), (w * 0.5, y - full * 0.62)]
    gap = 0.085 if p.teeth else 0.0
    below = [right, (w * 0.5, y + gap + full * 0.85), (0, y + gap + full * 1.3)]
    below += [(-w * 0.5, y + gap + full * 0.85), left]
    upper = curve([left, *bow, right], 36)
    brush.polygon(np.concatenate([upper, line[::-1]]), darker(p.lips, 0.84))
    brush.polygon(np.concatenate([line, curve(below)]), p.lips)
    shine = mixed(p.lips, (255, 240, 240), 0.35)
    brush.ellipse((0, y + gap + full * 0.7 + up * 0.2), (w * 0.32, full * 0.16), shine)
    if p.teeth:
        lower = [(w * 0.5, y + gap * 0.8), (0, y + gap * 1.25), (-w * 0.5, y + gap * 0.8)]
        opening = np.concatenate([line, curve([right, *lower, left])])
        centre = np.array([0, y + gap * 0.3])
        brush.polygon(centre + (opening - centre) * [0.94, 0.95], (92, 34, 38))
        brush.polygon(centre + (opening - centre) * [0.85, 0.72] + [0, -0.008], (240, 236, 228))
    else:
        brush.line(line, darker(p.lips, 0.42), 0.02)
    for sign in (-1, 1):
        brush.ellipse((sign * (w + 0.015), y - up), (0.022, 0.02), darker(p.skin, 0.55))
        if up > 0.04:
            fold = [(sign * 0.27, p.nose_y + 0.02), (sign * 0.42, y - 0.16), (sign * (w + 0.1), y)]
            brush.line(curve(fold, 12), darker(p.skin, 0.8), 0.014)


def _moustache(brush: Brush, p: Person, rng: np.random.Generator) -> None:
    top, low = p.nose_y + 0.13, p.mouth_y - p.mouth_full * 0.7
    w = p.mouth_width * 1.08
    shape = [(-w, low + 0.05), (-w * 0.5, low - 0.03), (0, top), (w * 0.5, low - 0.03)]
    shape += [(w, low + 0.05), (w * 0.4, low + 0.02), (0, low - 0.01), (-w * 0.4, low + 0.02)]
    brush.polygon(shape, p.hair)
    for x in rng.uniform(-0.9, 0.9, 40):
        start = (x * w * 0.8, top + 0.02 + 0.05 * abs(x))
        brush.line([start, (x * w * 1.02, low + 0.03 * abs(x))], darker(p.hair, 1.5), 0.008)
