"""What is found among collected heads and is none: clothes, empty images, broken files."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.heads import wear
from lockstep.synthetic.heads.backgrounds import COLOURS, background
from lockstep.synthetic.heads.characters import random_head
from lockstep.synthetic.heads.drawing import canvas, finished


def clothes(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A dressed dummy without a head; (size, size, 3)."""
    head = random_head(rng)
    pen = canvas(rng, size, head.zoom, (head.shift[0], -2.25), head.lean * 0.3)
    wear.body(pen, head)
    return finished(pen, size)


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


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """What failed downloads leave of a file."""
    kind = int(rng.integers(4))
    if kind == 0:
        return b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
    if kind == 1:
        return b""
    if kind == 2:
        return rng.bytes(int(rng.integers(200, 4000)))
    return data[: int(len(data) * rng.uniform(0.1, 0.7))]
