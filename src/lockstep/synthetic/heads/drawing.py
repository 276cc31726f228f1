"""From a character to pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.heads import face, hair, wear
from lockstep.synthetic.heads.backgrounds import background
from lockstep.synthetic.heads.characters import Head, random_head
from lockstep.synthetic.heads.pen import Pen

_FRAME = 3.3  # units that the image is wide at zoom 1
_BROWS = 0.52  # share of the image above the point between the eyebrows


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Random numbers of their own for each purpose of each image."""
    return np.random.default_rng([seed, number, purpose])


def draw(seed: int, number: int, size: int = 64) -> NDArray[np.uint8]:
    """Head `number` of the collection `seed`; (size, size, 3) bytes.

    It depends on nothing else, and is the same head at any size.

    Raises
    ------
    ValueError
        If `seed` or `number` is negative, or `size` below 1.
    """
    head = random_head(stream(seed, number, 0))
    return paint(head, stream(seed, number, 1), size)


def paint(head: Head, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw a character; `rng` makes the background."""
    pen = canvas(rng, size, head.zoom, head.shift, head.lean)
    cap = hair.fringe(head)
    wear.behind(pen, head)
    hair.behind(pen, head)
    wear.body(pen, head)
    face.skin(pen, head, cap)
    face.features(pen, head)
    wear.glasses(pen, head)
    hair.before(pen, head, cap)
    wear.before(pen, head)
    return finished(pen, size)


def canvas(
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


def finished(pen: Pen, size: int) -> NDArray[np.uint8]:
    """The image, averaged from the canvas."""
    return cv2.resize(pen.pixels, (size, size), interpolation=cv2.INTER_AREA)
