"""HEIC, in which telephones keep photographs: read where pillow-heif is installed.

This project does not install it: its wheels have libheif and libde265 in them, which have had
holes, and x265, which is under the GPL.
"""

from __future__ import annotations

from importlib.metadata import version

try:
    import pillow_heif
except ImportError:
    IS_READ = False
else:
    IS_READ = True
    pillow_heif.register_heif_opener()

ENDINGS = (".heic", ".heif", ".hif")
"""The endings of its files, whether it can be read or not."""
FORMATS = {"HEIF": ENDINGS} if IS_READ else {}
"""Pillow's name of it and the endings of its files, if it can be read."""
LIBRARIES = {"pillow-heif": version("pillow-heif")} if IS_READ else {}
"""What decides how an image comes out."""
WANTED = "HEIC, which `pip install pillow-heif` makes readable"
"""Why there is no image in a file."""
_KINDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")


def is_one(start: bytes) -> bool:
    """Whether a file begins as HEIC does."""
    return start[4:8] == b"ftyp" and start[8:12] in _KINDS
