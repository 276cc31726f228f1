"""JPEG files that end too early: by their end marker alone, or by part of their image.

libjpeg makes grey what is missing, and Pillow does not tell. What follows an image that is whole
changes none of its pixels; where some are missing, they are read from whatever follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from PIL import Image

START = b"\xff\xd8\xff"
_END, _SCAN = b"\xff\xd9", 0xDA
# What begins with its length; neither pixels nor the markers among them do.
_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
_MOST_SCANS = 100  # encoders make a dozen; each goes over all pixels
_NOTHING = bytes(64)
_NOISE = bytes([0x5A]) * 64
# A restart marker before each part: where a file has them, the rest of a part is skipped.
_ANYTHING = _NOISE + b"".join(bytes([0xFF, 0xD0 + number]) + _NOISE for number in range(8))


def loaded(
    data: bytes, opened: Callable[[bytes, int | None], Image.Image], side: int | None
) -> Image.Image:
    """The image of a file, with its pixels.

    A file without its end marker is read as if it were there, as browsers do. Raises `ValueError`
    if pixels are missing, or whatever Pillow raises. `opened` gives the image of a file before its
    pixels are read, made smaller as Pillow's `draft` does for the least `side` if that is given.
    """
    _check_scans(data)
    image = opened(data, side)
    if data.endswith(_NOTHING) and data.find(_END, _first_scan(data)) < 0:
        raise ValueError("a file of its full length that was never filled")
    try:
        image.load()
    except OSError:
        end = data.removesuffix(_END[:1])
    else:
        if not _ends_in_grey(image):
            return image
        end = data[: data.find(_END, _first_scan(data))]
    # In full: a small image may not show what is missing.
    whole, other = opened(end + _END, None), opened(end + _ANYTHING + _END, None)
    if whole.tobytes() != other.tobytes():
        raise ValueError("ends in the middle")
    image = opened(end + _END, side)
    image.load()
    return image


def _check_scans(data: bytes) -> None:
    """Raise `ValueError` if the pixels are spread over too many passes, each 14 bytes perhaps."""
    at = scans = 0
    while (found := _SEGMENT.search(data, at)) is not None and found[1] != _END[1:]:
        scans += found[1][0] == _SCAN
        if scans > _MOST_SCANS:
            raise ValueError(f"more than {_MOST_SCANS} scans")
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


def _ends_in_grey(image: Image.Image) -> bool:
    """Whether the last pixel has the grey of those that are missing."""
    last = image.getpixel((image.width - 1, image.height - 1))
    assert last is not None, "an image that is open has pixels"
    return all(abs(value - 128) <= 1 for value in (last if isinstance(last, tuple) else (last,)))


def _first_scan(data: bytes) -> int:
    """Where the pixels begin: what comes before, a small copy too, stands in segments."""
    at = 2
    while data[at + 1] != _SCAN:
        is_filler = data[at] != 0xFF or data[at + 1] == 0xFF
        at += 1 if is_filler else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
