"""What is behind a head."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.heads.pen import light
from lockstep.synthetic.painting import mixed, pick
from lockstep.synthetic.primitives import RGB, palette

COLOURS = palette(
    "fafafc f4e2d6 cee4f6 fadce6 dcf0d8 e2d8f4 fcf0c4 7896be 5c5474 d69682 383e58 96beaa"
)
KINDS = ("plain", "gradient", "stripes", "dots", "disc", "bokeh", "sky", "room", "rays")


def background(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """(side, side, 3) bytes."""
    base = pick(rng, COLOURS, 6)
    other = mixed(base, pick(rng, COLOURS, 6), 0.6)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    canvas = _gradient(side, base, other if kind in ("gradient", "sky") else base)
    if kind == "sky":
        _blobs(canvas, rng, light(base, 0.7), 7, (0.05, 0.16))
    elif kind == "bokeh":
        _blobs(canvas, rng, light(other, 0.3), 9, (0.03, 0.12))
    elif kind == "disc":
        middle = (round(side * rng.uniform(0.35, 0.65)), round(side * rng.uniform(0.3, 0.6)))
        cv2.circle(canvas, middle, round(side * rng.uniform(0.3, 0.46)), other, -1)
    elif kind == "dots":
        step = side // int(rng.integers(5, 9))
        for row, y in enumerate(range(0, side + step, step)):
            for x in range((row % 2) * step // 2, side + step, step):
                cv2.circle(canvas, (x, y), step // 4, other, -1)
    elif kind == "rays":
        hub = np.array([side / 2, side * 0.6])
        for k in range(12):
            angles = (np.array([k, k + 0.5]) / 12 + 0.02) * 2 * np.pi
            ends = hub + 2 * side * np.stack([np.cos(angles), np.sin(angles)], 1)
            triangle = np.concatenate([hub[None], ends]).round().astype(np.int32)
            cv2.fillPoly(canvas, [triangle], other)
    elif kind == "stripes":
        slope = int(rng.integers(-side // 2, side // 2))
        step = side // int(rng.integers(4, 9))
        for x in range(-side, 2 * side, 2 * step):
            stripe = [(x, 0), (x + step, 0), (x + step + slope, side), (x + slope, side)]
            cv2.fillPoly(canvas, [np.array(stripe, np.int32)], other)
    elif kind == "room":  # a wall with windows or shelves
        cv2.rectangle(canvas, (0, round(side * 0.7)), (side, side), other, -1)
        for _ in range(3):
            x, y = (int(at) for at in rng.uniform(-0.1, 0.9, 2) * side)
            wide, high = side * rng.uniform(0.15, 0.4), side * rng.uniform(0.1, 0.3)
            far = (x + round(wide), y + round(high))
            cv2.rectangle(canvas, (x, y), far, light(base, float(rng.uniform(0.2, 0.7))), -1)
            cv2.rectangle(canvas, (x, y), far, mixed(base, (60, 50, 60), 0.5), max(1, side // 90))
    return canvas


def _gradient(side: int, top: RGB, bottom: RGB) -> NDArray[np.uint8]:
    share = np.linspace(0, 1, side)[:, None]
    rows = (1 - share) * np.array(top) + share * np.array(bottom)
    return np.repeat(rows.round().astype(np.uint8)[:, None], side, 1)


def _blobs(
    canvas: NDArray[np.uint8],
    rng: np.random.Generator,
    colour: RGB,
    count: int,
    radii: tuple[float, float],
) -> None:
    side = canvas.shape[0]
    for _ in range(count):
        x, y = (round(at) for at in rng.uniform(0, 1, 2) * side)
        cv2.circle(canvas, (x, y), round(side * rng.uniform(*radii)), colour, -1)
