"""One image: measured, cut square and made small. Nothing is decided here."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lockstep.core.decoding import NoImage, decode
from lockstep.sources import perceptual_hash

_DETAIL = 4  # times the finished side that an image must have left before it is made small


@dataclass(frozen=True)
class ReadSettings:
    """What changes the figures of an image, beside the code."""

    size: int  # side of the finished image, in pixels
    max_pixels: int  # a larger image is refused


@dataclass(frozen=True, slots=True)
class Measures:
    """An image in figures: sides in pixels, upright.

    `contrast` is the standard deviation of the finished image's pixels, 0 to 128, in its liveliest
    colour; `perceptual_hash` has 256 bits that are nearly the same for copies, however large.
    """

    width: int
    height: int
    contrast: float
    perceptual_hash: str


@dataclass(frozen=True)
class ReadImage:
    """Figures and the finished image as a PNG file; or why there is none."""

    measures: Measures | None
    png: bytes
    broken: str = ""


def read_image(data: bytes, settings: ReadSettings) -> ReadImage:
    """Decode a file, whatever it is."""
    try:
        found = decode(data, settings.max_pixels, _DETAIL * settings.size)
    except NoImage as error:
        return ReadImage(None, b"", str(error))
    square = np.asarray(_square(found.image, settings.size))
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    contrast = float(square.std((0, 1), np.float64).max())
    measures = Measures(*found.size, round(contrast, 2), perceptual_hash.of(grey))
    return ReadImage(measures, _png(square))


def read_batch(batch: Sequence[tuple[str, bytes]], settings: ReadSettings) -> list[str]:
    """What is read of each (SHA-256, file), as texts that `from_text` reads."""
    return [_to_text(read_image(data, settings)) for _, data in batch]


def _square(image: Image.Image, size: int) -> Image.Image:
    """The middle, `size` x `size`; bicubic, with a kernel as wide as a finished pixel."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Not `resize(box=...)`: its kernel reaches over the box's edges.
    middle = image.crop((left, top, left + side, top + side))
    return middle.resize((size, size), Image.Resampling.BICUBIC)


def _png(square: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(square).save(file, "PNG", compress_level=4)
    return file.getvalue()


def _to_text(image: ReadImage) -> str:
    if image.measures is None:
        return json.dumps({"broken": image.broken})
    return json.dumps({**asdict(image.measures), "png": base64.b64encode(image.png).decode()})


def from_text(text: str) -> ReadImage:
    """What `read_batch` wrote."""
    fields = json.loads(text)
    if "broken" in fields:
        return ReadImage(None, b"", fields["broken"])
    png = base64.b64decode(fields.pop("png"))
    return ReadImage(Measures(**fields), png)
