"""What the bytes of a stranger's file are: an image, or a reason why not. Names say nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

from lockstep.core import heic, icc, jpeg, png
from lockstep.core.formats import FORMATS

MOST_PIXELS = 178_956_970
"""Pillow opens no larger image."""
_ORIENTATION = 0x0112
# EXIF 2.32, 4.6.4: what brings an image of each orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LIBRARIES = {"pillow": PIL.__version__, **heic.LIBRARIES}
"""Which decide what becomes of a file, by name, with their versions."""


class NoImage(Exception):
    """Bytes that are no usable image; the message is the reason, the same every time."""


@dataclass(frozen=True)
class Decoded:
    """An image upright, in mode RGB and in sRGB; the file's format by Pillow's name, and its
    upright width and height.
    """

    image: Image.Image
    format: str
    size: tuple[int, int]


def decode(
    source: Path | bytes, max_pixels: int = MOST_PIXELS, least_side: int | None = None
) -> Decoded:
    """Decode a file, or its bytes, to its end: of an animation the first frame; white for what is
    transparent.

    A JPEG is given at a half, a quarter or an eighth of its size if no side then falls below
    `least_side`: that costs less. Raises `NoImage`, and `OSError` if the file cannot be read.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    with _reasons(data[:1024], max_pixels):
        profile = None
        if data.startswith(png.SIGNATURE):
            data, profile = png.essential(data)
        image = _opened(max_pixels, data)
        turn, size = _UPRIGHT.get(_orientation(image)), _upright_size(image)
        # MPO is what Pillow calls a JPEG that turns out to have further views in it.
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        if kind == "JPEG":
            image = jpeg.loaded(data, partial(_opened, max_pixels), least_side)
        elif kind in ("PNG", "ICO"):
            _check_pngs(data)
        found = _rgb(image, profile or image.info.get("icc_profile"))
    return Decoded(found if turn is None else found.transpose(turn), kind, size)


def size_of(data: bytes) -> tuple[int, int]:
    """The upright width and height that the header of an image says. Raises `NoImage`."""
    with _reasons(data[:1024], MOST_PIXELS):
        if data.startswith(png.SIGNATURE):
            data, _ = png.essential(data)
        return _upright_size(_opened(MOST_PIXELS, data))


def _opened(max_pixels: int, data: bytes, side: int | None = None) -> Image.Image:
    """The image in a file, its pixels not read yet."""
    with warnings.catch_warnings():
        # Of bombs: the size is checked below, with a limit of our own.
        warnings.simplefilter("ignore")
        image = Image.open(BytesIO(data), formats=tuple(FORMATS))
    if image.width * image.height > max_pixels:
        raise Image.DecompressionBombError
    if side is not None:
        image.draft("RGB", (side, side))
    return image


@contextmanager
def _reasons(start: bytes, max_pixels: int) -> Iterator[None]:
    """Whatever goes wrong in the block is `NoImage`, for a file that begins so."""
    if not start:
        raise NoImage("empty")
    try:
        yield
    except Image.DecompressionBombError:
        most = f"{MOST_PIXELS:,}" if max_pixels == MOST_PIXELS else "download.max_pixels"
        raise NoImage(f"more pixels than {most}") from None
    except UnidentifiedImageError:
        raise NoImage(_what_else(start)) from None
    except Exception:  # Decoders raise whatever a damaged file makes them stumble over.
        raise NoImage("truncated or damaged") from None


def _what_else(start: bytes) -> str:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--")):
        return "an HTML page"
    if heic.is_one(start):
        return "truncated or damaged" if heic.IS_READ else heic.WANTED
    return "no image of a known format"


def _check_pngs(data: bytes) -> None:
    """The PNG that a file is, or those that an icon has in it. Raises `ValueError`."""
    at = data.find(png.SIGNATURE)
    while at >= 0:
        at = data.find(png.SIGNATURE, at + png.check(memoryview(data)[at:]))


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block does not damage the image.
        return 1
    return found if isinstance(found, int) and found in _UPRIGHT else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    image.load()
    alpha = None
    if image.mode == "I" or image.mode.startswith("I;16"):  # 16 bits a grey pixel
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode == "F":  # 0 to 1, or 0 to 255
        light = np.nan_to_num(np.asarray(image))
        light = light * 255 if light.max() <= 1 else light
        image = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        image = image.getchannel("L") if image.mode == "LA" else image.convert("RGBA")
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    if profile:
        image = icc.to_srgb(image, profile)
    rgb = image.convert("RGB")
    if alpha is None:
        return rgb
    rgb.putalpha(alpha)
    ground = Image.new("RGBA", rgb.size, "white")
    return Image.alpha_composite(ground, rgb).convert("RGB")
