"""The drawn images as files, such as people put on the web."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.portraits.drawing import draw
from lockstep.synthetic.portraits.plans import stream

_PNG, _GREY = 0.04, 0.02
"""Shares of PNGs and of black-and-white JPEGs; the others are JPEGs in colour."""


@dataclass(frozen=True)
class ImageFile:
    """A file, and its content type."""

    data: bytes
    content_type: str


def image(index: int, seed: int = 0) -> ImageFile:
    """Image `index` of the collection `seed`, drawn and encoded.

    Raises
    ------
    ValueError
        If `seed` or `index` is negative.
    """
    pixels = draw(seed, index).pixels
    rng = stream(seed, index, 3)
    kind, quality = rng.random(), int(rng.integers(82, 95))
    if kind < _PNG:
        return ImageFile(_encoded(".png", pixels, cv2.IMWRITE_PNG_COMPRESSION, 3), "image/png")
    if kind < _PNG + _GREY:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return ImageFile(_encoded(".jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, quality), "image/jpeg")


def _encoded(ending: str, pixels: NDArray[np.uint8], option: int, value: int) -> bytes:
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(ending, pixels, [option, value])
    return data.tobytes()
