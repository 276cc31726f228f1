"""PNG files (W3C's PNG, third edition) held against all that they say of themselves.

Pillow reads what it can of a damaged deflate stream and leaves the rest black. A file has a CRC for
each chunk, an Adler-32 for its pixels, and a header from which their exact number follows.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# What may say how an image is turned: EXIF as ImageMagick writes it, and XMP.
_TURNING = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_MOST_TEXT, _MOST_PROFILE = 2**20, 2**25  # bytes; a printer's profile may have megabytes
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: where each pass begins, and its steps, across and down.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_LAST_FILTER = 4  # Paeth
_PART = 2**23


def essential(data: bytes) -> tuple[bytes, bytes | None]:
    """The file without its texts, however long, and its ICC profile if that can be read.

    Of several profiles, and of several texts with one name, the first counts: each may unpack to a
    thousand times its size. Raises `ValueError` if a chunk is damaged or the last one is missing.
    """
    kept: list[bytes | memoryview] = [SIGNATURE]
    profile = None
    seen: set[bytes] = set()
    for kind, chunk in _chunks(data):
        if kind != b"iCCP" and kind not in _TEXTS:
            kept.append(chunk)
            continue
        content = bytes(chunk[8:-4])
        name, _, packed = content.partition(b"\0")
        what = kind if kind == b"iCCP" else name
        if what in seen:
            continue
        seen.add(what)
        if kind == b"iCCP":
            profile = _inflated(packed[1:], _MOST_PROFILE)
        elif _may_turn(kind, content):
            kept.append(chunk)
    return b"".join(kept), profile


def check(data: bytes | memoryview) -> int:
    """How many bytes the image takes; what follows its last chunk is no part of it.

    Raises `ValueError` unless the pixels are all there, and unharmed.
    """
    passes: list[range] = []
    at, length = 0, len(SIGNATURE)
    stream = zlib.decompressobj()
    for kind, chunk in _chunks(data):
        length += len(chunk)
        if kind == b"IHDR":
            passes = _passes(bytes(chunk[8:-4]))
        elif kind == b"IDAT":
            packed: bytes | memoryview = chunk[8:-4]
            while passes and (part := _part(stream, packed)):
                if any(_has_other_filter(part, at, rows) for rows in passes):
                    raise ValueError("a row with an unknown filter")
                at += len(part)
                packed = stream.unconsumed_tail
                if at > passes[-1].stop:
                    raise ValueError("more pixels than the header says")
    if not passes or at != passes[-1].stop or not stream.eof:
        raise ValueError("fewer pixels than the header says")
    return length


def _chunks(data: bytes | memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The type of each chunk, and all of it: length, type, content, CRC."""
    view, at = memoryview(data), len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        kind = bytes(view[at + 4 : at + 8])
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data):
            raise ValueError("ends in the middle")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ValueError(f"damaged in {kind!r}")
        yield kind, view[at:end]
        at = end


def _part(stream: zlib._Decompress, packed: bytes | memoryview) -> bytes:
    try:
        return stream.decompress(packed, _PART)
    except zlib.error as error:
        raise ValueError(str(error)) from None


def _passes(header: bytes) -> list[range]:
    """Where the rows of each pass begin in the unpacked bytes.

    A row is whole bytes, after that of its filter.
    """
    if len(header) != 13:
        raise ValueError("damaged in IHDR")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _CHANNELS.get(colour, 0)
    found: list[range] = []
    begin = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            length = 1 + -(-columns * bits // 8)
            found.append(range(begin, begin + rows * length, length))
            begin = found[-1].stop
    return found


def _has_other_filter(part: bytes, at: int, rows: range) -> bool:
    """Whether a row of a pass that begins in this part, of the bytes from `at` on, has one."""
    first = rows.start - at if at <= rows.start else (rows.start - at) % rows.step
    return max(part[first : max(0, rows.stop - at) : rows.step], default=0) > _LAST_FILTER


def _may_turn(kind: bytes, text: bytes) -> bool:
    """Whether a text may say how the image is turned; it is no larger than Pillow reads."""
    if not text.startswith(_TURNING):
        return False
    _, _, value = text.partition(b"\0")
    if kind == b"zTXt":
        return _inflated(value[1:], _MOST_TEXT) is not None
    if kind == b"iTXt" and value[:1] == b"\1":
        return _inflated(value[2:].split(b"\0", 2)[-1], _MOST_TEXT) is not None
    return len(text) <= _MOST_TEXT


def _inflated(packed: bytes, most: int) -> bytes | None:
    """The whole of a deflate stream; None if it is damaged, or has more than `most` bytes."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(packed, most)
    except zlib.error:
        return None
    return found if stream.eof else None
