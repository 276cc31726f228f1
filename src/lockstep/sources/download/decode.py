"""What bytes from a stranger are: an image, or a reason why not. Their name says nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP")
# MPO is what Pillow calls a JPEG that turns out to have further views in it.
_ENDINGS = {name: name.lower() for name in _FORMATS} | {"JPEG": "jpg", "MPO": "jpg"}
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
_SMALL = (64, 64)
# What people keep in folders, but not on the web; all of them have a magic number.
_FOLDER_FORMATS = (*_FORMATS, "TIFF", "PPM", "JPEG2000", "DIB", "ICO", "QOI", "SGI", "SUN")


class NoImage(Exception):
    """Bytes that are no usable image; the message is the reason, the same every time."""


@dataclass(frozen=True)
class Kind:
    """An image's file ending, and its size in pixels when upright."""

    ending: str
    width: int
    height: int


def check(path: Path, max_pixels: int) -> Kind:
    """Decode a file to its end. Raises `NoImage` if it cannot become an RGB image."""
    with _opened(path, max_pixels) as image:
        kind = Kind(_ENDINGS[image.format or ""], *_upright_size(image))
        # Of a JPEG the coefficients are all read, but only some of the pixels worked out.
        image.draft("RGB", _SMALL)
        _rgb(image)
    return kind


def decode(path: Path, max_pixels: int) -> Image.Image:
    """The image in a file, upright, in mode RGB: of an animation the first frame, what is
    transparent white. Raises `NoImage`.
    """
    with _opened(path, max_pixels) as image:
        turn = _UPRIGHT.get(_orientation(image))
        found = _rgb(image)
    return found if turn is None else found.transpose(turn)


def decode_bytes(
    data: bytes, max_pixels: int, least_side: int
) -> tuple[Image.Image, tuple[int, int]]:
    """As `decode`, for a file in memory of some more formats; with its upright width and height.

    A JPEG is given at a half, a quarter or an eighth of its size if no side then falls below
    `least_side`: that costs less.
    """
    with _opened(data, max_pixels, _FOLDER_FORMATS) as image:
        turn, size = _UPRIGHT.get(_orientation(image)), _upright_size(image)
        image.draft("RGB", (least_side, least_side))
        found = _rgb(image)
    return found if turn is None else found.transpose(turn), size


@contextmanager
def _opened(
    source: Path | bytes, max_pixels: int, formats: tuple[str, ...] = _FORMATS
) -> Iterator[Image.Image]:
    """The file as an image not decoded yet; whatever goes wrong in the block is `NoImage`."""
    try:
        with source.open("rb") if isinstance(source, Path) else BytesIO(source) as file:
            start = file.read(1024)
            file.seek(0)
            if not start:
                raise NoImage("empty")
            with warnings.catch_warnings():
                # Of bombs: the size is checked below, with a limit of our own.
                warnings.simplefilter("ignore")
                image = Image.open(file, formats=formats)
            with image:
                if image.width * image.height > max_pixels:
                    raise NoImage("more pixels than download.max_pixels")
                yield image
    except NoImage:
        raise
    except Image.DecompressionBombError:
        raise NoImage("more pixels than download.max_pixels") from None
    except UnidentifiedImageError:
        text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        is_html = text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--"))
        raise NoImage("an HTML page" if is_html else "no image of a known format") from None
    except Exception:  # Decoders raise whatever a damaged file makes them stumble over.
        raise NoImage("truncated or damaged") from None


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block does not damage the image.
        return 1
    return found if isinstance(found, int) and found in _UPRIGHT else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode == "I" or image.mode.startswith("I;16"):  # 16 bits a grey pixel
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":  # 0 to 1, or 0 to 255
        light = np.nan_to_num(np.asarray(image))
        light = light * 255 if light.max() <= 1 else light
        return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        ground = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(ground, over).convert("RGB")
    return image.convert("RGB")
