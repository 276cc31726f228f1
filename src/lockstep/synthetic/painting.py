"""What drawn images have in common: random streams, choices, colours, ellipses, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.primitives import RGB, Triple

T = TypeVar("T")
Points: TypeAlias = NDArray[np.float64]
"""Corners (N, 2), x to the right and y downwards."""


@dataclass(frozen=True)
class ImageFile:
    """A file as a web server sends it."""

    data: bytes
    content_type: str


def stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    """Random numbers of their own for each purpose of each image."""
    return np.random.default_rng([seed, index, purpose])


class Dice:
    """Random choices, each of which takes one number from `rng`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        """A number, evenly distributed."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True in that share of the cases."""
        return bool(self.rng.random() < share)

    def one(self, items: Sequence[T]) -> T:
        """One of them, each as likely as the next."""
        return items[int(self.rng.integers(len(items)))]

    def weighted(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """One of them, as likely as its weight says."""
        return items[int(self.rng.choice(len(items), p=np.array(weights) / sum(weights)))]


def as_triple(parts: NDArray[np.floating]) -> Triple:
    """The numbers of an array of three."""
    x, y, z = parts.tolist()
    return x, y, z


def varied(
    rng: np.random.Generator, colour: RGB, spread: float, low: float = 6, high: float = 255
) -> RGB:
    """A colour near another one, its parts clipped to `low` to `high`."""
    noise = rng.normal(0, spread, 3)
    return as_triple(np.clip(np.array(colour) + noise + rng.normal(0, spread), low, high))


def pick(rng: np.random.Generator, colours: Sequence[RGB], spread: float) -> RGB:
    """A colour near one of a palette's."""
    return varied(rng, colours[int(rng.integers(len(colours)))], spread)


def mixed(a: RGB, b: RGB, share: float) -> RGB:
    """Colour `a` with a share of `b` in it."""
    red, green, blue = (p * (1 - share) + q * share for p, q in zip(a, b, strict=True))
    return red, green, blue


def ellipse(
    centre: Sequence[float], radii: Sequence[float], turn: float = 0, corners: int = 32
) -> Points:
    """Corners of a polygon that passes for an ellipse; `turn` in radians."""
    at = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    x, y = radii[0] * np.cos(at), radii[1] * np.sin(at)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], 1)


def encoded(pixels: NDArray[np.uint8], ending: str, quality: int) -> bytes:
    """A file of RGB (H, W, 3) or grey (H, W); `quality` of a PNG is its compression, 0 to 9."""
    option = {
        ".png": cv2.IMWRITE_PNG_COMPRESSION,
        ".jpg": cv2.IMWRITE_JPEG_QUALITY,
        ".webp": cv2.IMWRITE_WEBP_QUALITY,
    }[ending]
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(ending, pixels, [option, quality])
    return data.tobytes()
