"""What is behind people, and images of things: painted small, out of focus, then enlarged."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.painting import as_triple, ellipse, mixed
from lockstep.synthetic.portraits.canvas import Brush, curve, darker
from lockstep.synthetic.primitives import RGB

_REDUCTION = 4

Painter = Callable[[Brush, np.random.Generator, float, float], None]


def background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3): a studio, lights at night, a room, a park, a street or a wall."""
    paint = _PLACES[int(rng.integers(len(_PLACES)))]
    return _enlarged(paint, rng, width, height, float(rng.uniform(0.8, 2.2)))


def still_life(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) without anybody in it: food, flowers, a page of text, an empty place."""
    if rng.random() < 0.3:
        paint = _PLACES[int(rng.integers(1, len(_PLACES)))]
        return _enlarged(paint, rng, width, height, 0.5)
    canvas = _enlarged(_studio, rng, width, height, 2.0)
    brush = Brush(canvas, float(min(width, height)), (0.0, 0.0))
    paint_things = (_plate, _flowers, _page)[int(rng.integers(3))]
    paint_things(brush, rng, width / min(width, height), height / min(width, height))
    return canvas


def _colour(rng: np.random.Generator, low: float, high: float) -> RGB:
    """A random colour, not too loud, between two brightnesses."""
    bright = rng.uniform(low, high)
    return as_triple(np.clip(bright + rng.normal(0, 26, 3), 4, 250))


def _enlarged(
    paint: Painter, rng: np.random.Generator, width: int, height: int, blur: float
) -> NDArray[np.uint8]:
    columns, rows = -(-width // _REDUCTION), -(-height // _REDUCTION)
    small = np.empty((rows, columns, 3), np.uint8)
    side = float(min(rows, columns))
    paint(Brush(small, side, (0.0, 0.0)), rng, columns / side, rows / side)
    small = cv2.GaussianBlur(small, (0, 0), blur * side / 150)
    large = cv2.resize(
        small, (columns * _REDUCTION, rows * _REDUCTION), interpolation=cv2.INTER_CUBIC
    )
    return np.ascontiguousarray(large[:height, :width])


def _fade(brush: Brush, top: RGB, bottom: RGB) -> None:
    share = np.linspace(0, 1, brush.pixels.shape[0])[:, None, None]
    brush.pixels[:] = np.array(top) * (1 - share) + np.array(bottom) * share


def _studio(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    colour = _colour(rng, 70, 225)
    rows, columns = brush.pixels.shape[:2]
    x = np.linspace(0, w, columns)[None, :] - rng.uniform(0.2, 0.8) * w
    y = np.linspace(0, h, rows)[:, None] - rng.uniform(0.1, 0.6) * h
    glow = np.exp(-(x * x + y * y) / 0.7)[..., None]
    brush.pixels[:] = np.clip(np.array(colour) * (0.72 + 0.4 * glow), 0, 255)


def _lights(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    dark = _colour(rng, 18, 60)
    _fade(brush, dark, darker(dark, 1.5))
    for _ in range(int(rng.integers(18, 42))):
        tone = mixed(_colour(rng, 120, 240), (255, 190, 90), float(rng.uniform(0, 0.7)))
        radius = rng.uniform(0.015, 0.07)
        under = brush.pixels.copy()
        brush.ellipse((rng.uniform(0, w), rng.uniform(0, h)), (radius, radius), tone)
        cv2.addWeighted(brush.pixels, 0.6, under, 0.4, 0, brush.pixels)


def _box(brush: Brush, x: float, y: float, w: float, h: float, colour: RGB) -> None:
    brush.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], colour)


def _room(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    wall = _colour(rng, 120, 225)
    _fade(brush, wall, darker(wall, 0.82))
    x, y, wide, high = rng.uniform(-0.1, 0.6) * w, rng.uniform(0, 0.25) * h, 0.45, 0.6
    if rng.random() < 0.5:  # a window
        _box(brush, x - 0.03, y - 0.03, wide + 0.06, high + 0.06, darker(wall, 0.6))
        _box(brush, x, y, wide, high, (214, 230, 244))
        _box(brush, x, y + high * 0.6, wide, high * 0.4, _colour(rng, 100, 150))
        _box(brush, x + wide / 2 - 0.012, y, 0.024, high, darker(wall, 0.6))
    else:  # a shelf with books
        for shelf in range(4):
            left = x
            while left < x + 0.7:
                thick = rng.uniform(0.02, 0.06)
                tall = rng.uniform(0.1, 0.17)
                foot = y + 0.2 + shelf * 0.23
                _box(brush, left, foot - tall, thick, tall, _colour(rng, 50, 200))
                left += thick
            _box(brush, x - 0.05, y + 0.2 + shelf * 0.23, 0.8, 0.025, (104, 74, 50))
    _box(brush, 0, h * rng.uniform(0.82, 1.0), w, h, _colour(rng, 60, 140))


def _park(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    _fade(brush, (142, 186, 226), (226, 232, 230))
    horizon = rng.uniform(0.4, 0.65) * h
    for k in range(3):
        line = [(x * w, horizon + 0.1 * k + rng.uniform(-0.07, 0.07)) for x in np.linspace(0, 1, 6)]
        green = (96 - 16 * k + rng.uniform(-12, 12), 138 - 20 * k, 82 - 14 * k)
        brush.polygon(np.concatenate([curve(line), [(w, h), (0, h)]]), green)
    for _ in range(int(rng.integers(3, 8))):
        x, y, size = rng.uniform(0, w), horizon + rng.uniform(-0.2, 0.1), rng.uniform(0.08, 0.2)
        _box(brush, x - size * 0.1, y, size * 0.2, size * 2, (82, 62, 48))
        leaf = (60 + rng.uniform(-20, 40), 110 + rng.uniform(-20, 30), 52)
        for _ in range(5):
            at = (x + rng.normal(0, size * 0.5), y + rng.normal(0, size * 0.4))
            brush.ellipse(at, (size * 0.6, size * 0.5), darker(leaf, float(rng.uniform(0.7, 1.2))))


def _street(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    sky = _colour(rng, 150, 225)
    _fade(brush, sky, mixed(sky, (255, 226, 196), 0.5))
    left = -0.05
    while left < w:
        wide, top = rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.5) * h
        wall = _colour(rng, 60, 170)
        _box(brush, left, top, wide, h, wall)
        pane = mixed(wall, (250, 232, 180), float(rng.uniform(0.2, 0.8)))
        for y in np.arange(top + 0.04, h, 0.09):
            for x in np.arange(left + 0.03, left + wide - 0.04, 0.07):
                if rng.random() < 0.75:
                    _box(brush, x, y, 0.036, 0.05, pane)
        left += wide
    _box(brush, 0, h * 0.9, w, h, (92, 92, 98))


def _wall(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    base = _colour(rng, 90, 210)
    brush.pixels[:] = np.array(darker(base, 0.75))
    high = rng.uniform(0.05, 0.12)
    wide = high * rng.uniform(1.0, 2.6)
    for row, y in enumerate(np.arange(0, h, high)):
        for x in np.arange(-wide * (row % 2) / 2, w, wide):
            tone = darker(base, float(rng.uniform(0.9, 1.08)))
            _box(brush, x, y, wide - 0.012, high - 0.012, tone)


_PLACES = (_studio, _lights, _room, _park, _street, _wall)


def _plate(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    x, y = w * rng.uniform(0.4, 0.6), h * rng.uniform(0.4, 0.6)
    brush.ellipse((x + 0.02, y + 0.03), (0.42, 0.34), (60, 56, 54))
    brush.ellipse((x, y), (0.42, 0.34), (236, 234, 228))
    brush.ellipse((x, y), (0.33, 0.26), (222, 219, 212))
    for _ in range(int(rng.integers(9, 20))):
        size, turn = rng.uniform(0.03, 0.09), rng.uniform(0, 3)
        at = (x + rng.normal(0, 0.11), y + rng.normal(0, 0.08))
        colour = mixed(_colour(rng, 100, 190), (220, 110, 50), float(rng.uniform(0.2, 0.8)))
        brush.ellipse(at, (size, size * 0.7), colour, turn)
        shine = (at[0] - size * 0.2, at[1] - size * 0.25)
        brush.ellipse(shine, (size * 0.3, size * 0.15), mixed(colour, (255, 255, 255), 0.5), turn)


def _flowers(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    for _ in range(int(rng.integers(5, 11))):
        x, y = rng.uniform(0.1, 0.9) * w, rng.uniform(0.15, 0.7) * h
        stem = [(x, y), (x + rng.normal(0, 0.03), (y + h) / 2), (w / 2 + rng.normal(0, 0.1), h)]
        brush.line(curve(stem), (70, 112, 62), 0.014)
        petal, size = _colour(rng, 120, 220), rng.uniform(0.05, 0.1)
        for turn in np.linspace(0, 2 * np.pi, 7)[:-1] + rng.uniform(0, 1):
            at = (x + size * np.cos(turn), y + size * np.sin(turn))
            shade = darker(petal, float(rng.uniform(0.85, 1.1)))
            brush.polygon(ellipse(at, (size * 0.8, size * 0.45), turn), shade)
        brush.ellipse((x, y), (size * 0.4, size * 0.4), (232, 190, 70))


def _page(brush: Brush, rng: np.random.Generator, w: float, h: float) -> None:
    brush.pixels[:] = 250 if rng.random() < 0.6 else 28
    ink: RGB = (40, 42, 48) if brush.pixels[0, 0, 0] > 128 else (208, 208, 204)
    for y in np.arange(0.08, h - 0.06, 0.045):
        x = 0.06
        while x < w - 0.1 and rng.random() > 0.06:
            word = rng.uniform(0.02, 0.11)
            _box(brush, x, y, min(word, w - 0.06 - x), 0.016, ink)
            x += word + 0.015
