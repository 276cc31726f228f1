"""The image formats that are read, the same ones everywhere."""

from __future__ import annotations

from itertools import chain
from pathlib import PurePath

from lockstep.core import heic

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "DIB": (".dib",),
    "ICO": (".ico",),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "SUN": (".ras",),
    **heic.FORMATS,
}
"""Pillow's name of each format, and the endings of its files, the usual one first.

All of them have a magic number: a file is read for what is in it, whatever its name.
"""

ENDINGS = tuple(dict.fromkeys((*chain.from_iterable(FORMATS.values()), *heic.ENDINGS)))
"""Of all images; those of HEIC may not be readable here."""


def is_hidden(name: PurePath) -> bool:
    """Whether a system or a program, not a person, has put a file there: `._*`, `__MACOSX/`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
