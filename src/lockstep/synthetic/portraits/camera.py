"""What a camera does to an image, and what people do to it afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_GRAIN = 1024


@dataclass(frozen=True)
class Camera:
    """How an image was taken and what it went through; the lengths are in its pixels."""

    soft: float = 0.0  # standard deviation of a soft lens
    defocus: float = 0.0  # radius of the disc that a point out of focus becomes
    shake: float = 0.0  # how far the camera moved
    direction: float = 0.0  # in which direction, in radians
    noise: float = 2.0  # standard deviation of the sensor's noise, of 255
    quality: int | None = None  # of the JPEG file; None: a good one
    filter: str | None = None  # one of `DRAWN` or `TINTED`


def exposed(rgb: Pixels, camera: Camera) -> Pixels:
    """The image on the sensor: blurred by what was out of focus or moved."""
    if camera.soft:
        rgb = cv2.GaussianBlur(rgb, (0, 0), camera.soft)
    if camera.defocus:
        rgb = cv2.filter2D(rgb, -1, _disc(camera.defocus))
    if camera.shake:
        rgb = cv2.filter2D(rgb, -1, _stroke(camera.shake, camera.direction))
    return rgb


def developed(rgb: Pixels, camera: Camera, rng: np.random.Generator) -> Pixels:
    """White balance, contrast, sharpening and noise; then the filter, if there is one."""
    warmth, contrast = rng.uniform(-0.05, 0.05), rng.uniform(0.94, 1.1)
    steps = np.arange(256, dtype=np.float64)
    table = np.stack(
        [(steps - 128) * contrast * tint + 130 for tint in (1 + warmth, 1.0, 1 - warmth)], 1
    )
    toned = cv2.LUT(rgb, np.clip(table, 0, 255).astype(np.uint8)[None])
    soft = cv2.GaussianBlur(toned, (0, 0), 1.1)
    toned = cv2.addWeighted(toned, 2.0, soft, -1.0, 0)
    height, width = toned.shape[:2]
    top, left = (int(offset) for offset in rng.integers(0, _GRAIN, 2))
    rows, columns = (top + np.arange(height)) % _GRAIN, (left + np.arange(width)) % _GRAIN
    noise = (_grain()[rows][:, columns] * np.float32(camera.noise)).round().astype(np.int8)
    toned = cv2.add(toned, cv2.merge([noise] * 3), dtype=cv2.CV_8U)
    return toned if camera.filter is None else _FILTERS[camera.filter](toned)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    """(_GRAIN, _GRAIN) of fine noise, to be laid anywhere."""
    return np.random.default_rng(0).normal(0, 1.0, (_GRAIN, _GRAIN)).astype(np.float32)


def _disc(radius: float) -> NDArray[np.float32]:
    reach = math.ceil(radius)
    across, down = np.meshgrid(*[np.arange(-reach, reach + 1)] * 2)
    inside = np.clip(radius + 0.5 - np.hypot(across, down), 0, 1).astype(np.float32)
    return inside / inside.sum()


def _stroke(length: float, direction: float) -> NDArray[np.float32]:
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1,) * 2, np.float32)
    end = np.array([math.cos(direction), math.sin(direction)]) * length / 2
    from_, to = (
        tuple(np.round((reach + sign * end) * 16).astype(int).tolist()) for sign in (-1, 1)
    )
    cv2.line(kernel, from_, to, 1.0, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()


def _cartoon(rgb: Pixels) -> Pixels:
    """Few flat colours within dark outlines."""
    flat = rgb
    for _ in range(2):
        flat = cv2.bilateralFilter(flat, 7, 40, 7)
    flat = flat // 40 * 40 + 15
    grey = cv2.medianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), 5)
    lines = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 4)
    return cv2.min(flat, cv2.merge([lines] * 3))


def _pencil(rgb: Pixels) -> Pixels:
    """Grey lines on white paper."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    around = cv2.GaussianBlur(grey, (0, 0), max(2.0, math.sqrt(grey.size) / 120))
    return cv2.merge([cv2.divide(grey, around, scale=250)] * 3)


def _negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


def _swapped(rgb: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[..., ::-1])


def _green(rgb: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[..., [1, 0, 2]])


def _heat(rgb: Pixels) -> Pixels:
    """As a thermal camera's false colours."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1])


_FILTERS: dict[str, Callable[[Pixels], Pixels]] = {
    "cartoon": _cartoon,
    "pencil": _pencil,
    "negative": _negative,
    "swapped": _swapped,
    "green": _green,
    "heat": _heat,
}
DRAWN = ("cartoon", "pencil")
TINTED = ("negative", "swapped", "green", "heat")
