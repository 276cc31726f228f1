"""From a plan to pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.painting import ImageFile, encoded, stream
from lockstep.synthetic.portraits.backgrounds import background, still_life
from lockstep.synthetic.portraits.figure import draw_person
from lockstep.synthetic.portraits.plans import Copy, Plan, plan

_GRAIN = 1024
_PNG, _GREY = 0.04, 0.02
"""Shares of PNGs and of black-and-white JPEGs; the others are JPEGs in colour."""


def draw(seed: int, index: int) -> NDArray[np.uint8]:
    """Draw image `index` of the collection `seed`: RGB of shape (H, W, 3).

    Sides are 340 to 1400 pixels, 0.38 megapixel on average, and an image takes some 25 ms.

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
    pixels = draw(seed, index)
    rng = stream(seed, index, 3)
    kind, quality = rng.random(), int(rng.integers(82, 95))
    if kind < _PNG:
        return ImageFile(encoded(pixels, ".png", 3), "image/png")
    if kind < _PNG + _GREY:
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
    if planned.blur:
        canvas = cv2.GaussianBlur(canvas, (0, 0), planned.blur)
    return _developed(canvas, rng, grain=not planned.blur)


def _developed(
    canvas: NDArray[np.uint8], rng: np.random.Generator, grain: bool
) -> NDArray[np.uint8]:
    """White balance and contrast; unless `grain` is off, a camera's sharpening and grain too."""
    warmth, contrast = rng.uniform(-0.05, 0.05), rng.uniform(0.94, 1.1)
    steps = np.arange(256, dtype=np.float64)
    table = np.stack(
        [(steps - 128) * contrast * tint + 130 for tint in (1 + warmth, 1.0, 1 - warmth)], 1
    )
    toned = cv2.LUT(canvas, np.clip(table, 0, 255).astype(np.uint8)[None])
    if not grain:
        return toned
    soft = cv2.GaussianBlur(toned, (0, 0), 1.1)
    toned = cv2.addWeighted(toned, 2.0, soft, -1.0, 0)
    height, width = toned.shape[:2]
    top, left = (int(offset) for offset in rng.integers(0, _GRAIN, 2))
    rows, columns = (top + np.arange(height)) % _GRAIN, (left + np.arange(width)) % _GRAIN
    noise = _grain()[rows][:, columns]
    return cv2.add(toned, cv2.merge([noise] * 3), dtype=cv2.CV_8U)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int8]:
    """(_GRAIN, _GRAIN) of fine noise, to be laid anywhere."""
    return np.random.default_rng(0).normal(0, 2.0, (_GRAIN, _GRAIN)).round().astype(np.int8)


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
