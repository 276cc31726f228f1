"""From a character to pixels; and what is found among collected heads and is none."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.heads import face, hair, wear
from lockstep.synthetic.heads.backgrounds import COLOURS, background
from lockstep.synthetic.heads.characters import Head
from lockstep.synthetic.heads.pen import Pen
from lockstep.synthetic.painting import stream

_FRAME = 3.3  # units that the image is wide at zoom 1
_BROWS = 0.52  # share of the image above the point between the eyebrows


def draw(seed: int, number: int, size: int = 64) -> NDArray[np.uint8]:
    """Head `number` of the collection `seed`; (size, size, 3) bytes.

    It depends on nothing else, and is the same head at any size.

    Raises
    ------
    ValueError
        If `seed` or `number` is negative, or `size` below 1.
    """
    head = Head(stream(seed, number, 0))
    pen = _canvas(stream(seed, number, 1), size, head.zoom, head.shift, head.lean)
    cap = hair.fringe(head)
    wear.behind(pen, head)
    hair.behind(pen, head)
    wear.body(pen, head)
    face.skin(pen, head, cap)
    face.features(pen, head)
    wear.glasses(pen, head)
    hair.before(pen, head, cap)
    wear.before(pen, head)
    return _finished(pen, size)


def _canvas(
    rng: np.random.Generator, size: int, zoom: float, shift: tuple[float, float], lean: float
) -> Pen:
    """A pen on a background that is some times larger than the image."""
    if size < 1:
        raise ValueError(f"size {size} is below 1; give 1 or more")
    # Outlines are a pixel or more of the canvas thick: a small image needs more of them.
    side = size * max(2, -(-256 // size))
    scale = side / _FRAME * zoom
    origin = (side * 0.5 + shift[0] * scale, side * _BROWS + shift[1] * scale)
    return Pen(background(rng, side), scale, origin, lean)


def _finished(pen: Pen, size: int) -> NDArray[np.uint8]:
    """The image, averaged from the canvas."""
    return cv2.resize(pen.pixels, (size, size), interpolation=cv2.INTER_AREA)


def clothes(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A dressed dummy without a head; (size, size, 3)."""
    head = Head(rng)
    pen = _canvas(rng, size, head.zoom, (head.shift[0], -2.25), head.lean * 0.3)
    wear.body(pen, head)
    return _finished(pen, size)


def blank(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """One colour, or nearly; (size, size, 3)."""
    base = np.array(COLOURS[int(rng.integers(len(COLOURS)))])
    slope = np.linspace(-1, 1, size)[:, None, None] * rng.uniform(0, 6)
    grain = rng.normal(0, 1, (size, size, 3)) * rng.uniform(0, 3)
    return np.clip(base + slope + grain, 0, 255).astype(np.uint8)


def banner(image: NDArray[np.uint8], rng: np.random.Generator, ratio: float) -> NDArray[np.uint8]:
    """A square image put somewhere into a strip that is `ratio` times as long as wide."""
    side = image.shape[0]
    length = round(side * ratio)
    strip = cv2.resize(background(rng, side), (length, side), interpolation=cv2.INTER_AREA)
    left = int(rng.integers(length - side + 1))
    strip[:, left : left + side] = image
    return strip if rng.random() < 0.6 else np.ascontiguousarray(strip.transpose(1, 0, 2))
