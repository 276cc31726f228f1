"""From a plan to pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.painting import ImageFile, encoded, stream
from lockstep.synthetic.portraits.backgrounds import background, still_life
from lockstep.synthetic.portraits.camera import developed, exposed
from lockstep.synthetic.portraits.figure import draw_person
from lockstep.synthetic.portraits.plans import Copy, Plan, plan

_PNG, _GREY = 0.04, 0.02
"""Shares of PNGs and of black-and-white JPEGs; the others are JPEGs in colour."""


def draw(seed: int, index: int) -> NDArray[np.uint8]:
    """Draw image `index` of the collection `seed`: RGB of shape (H, W, 3).

    Sides are 340 to 1800 pixels, half a megapixel on average, and an image takes some 30 ms.

    Raises
    ------
    ValueError
        If `seed` or `index` is negative.
    """
    return _pixels(seed, plan(seed, index))


def image(index: int, seed: int = 0) -> ImageFile:
    """Image `index` of the collection `seed`, drawn and encoded.

    Raises
    ------
    ValueError
        If `seed` or `index` is negative.
    """
    planned = plan(seed, index)
    pixels = _pixels(seed, planned)
    rng = stream(seed, index, 3)
    kind, quality = rng.random(), int(rng.integers(82, 95))
    if planned.camera.quality is not None:
        return ImageFile(encoded(pixels, ".jpg", planned.camera.quality), "image/jpeg")
    if kind < _PNG:
        return ImageFile(encoded(pixels, ".png", 3), "image/png")
    if kind < _PNG + _GREY and planned.camera.filter is None:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return ImageFile(encoded(pixels, ".jpg", quality), "image/jpeg")


def _pixels(seed: int, planned: Plan) -> NDArray[np.uint8]:
    if planned.copy is not None:
        original = replace(planned, index=planned.copy.of, copy=None)
        return _copied(_pixels(seed, original), planned.copy)
    rng = stream(seed, planned.index, 2)
    setting = background if planned.figures else still_life
    canvas = setting(rng, planned.width, planned.height)
    for figure in planned.figures:
        draw_person(canvas, figure, planned.light, rng)
    return developed(exposed(canvas, planned.camera), planned.camera, rng)


def _copied(original: NDArray[np.uint8], copy: Copy) -> NDArray[np.uint8]:
    left, top, right, bottom = copy.cut
    height, width = original.shape[:2]
    part = original[
        round(top * height) : round((1 - bottom) * height),
        round(left * width) : round((1 - right) * width),
    ]
    size = (round(part.shape[1] * copy.scale), round(part.shape[0] * copy.scale))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return cv2.add(small, np.array([*[copy.brightness] * 3, 0.0]), dtype=cv2.CV_8U)
