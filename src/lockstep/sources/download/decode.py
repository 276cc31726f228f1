"""What a downloaded file is: the ending that it gets, and its size; or a reason why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lockstep.core.decoding import decode
from lockstep.core.formats import FORMATS

_SMALL = 64


@dataclass(frozen=True)
class Kind:
    """An image's file ending, and its size in pixels when upright."""

    ending: str
    width: int
    height: int


def check(path: Path, max_pixels: int) -> Kind:
    """Decode a file to its end. Raises `NoImage` if it cannot become an RGB image."""
    # Of a JPEG the coefficients are all read, but only some of the pixels worked out.
    found = decode(path, max_pixels, _SMALL)
    return Kind(FORMATS[found.format][0].removeprefix("."), *found.size)
