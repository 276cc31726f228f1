"""Images of every format that is read, nearly whole: each is decoded or has a reason."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fuzzing import damaged
from lockstep.core import heic
from lockstep.core.decoding import NoImage, decode, size_of
from lockstep.core.formats import FORMATS
from odd_files import by_opencv, by_pillow, encoded, head

_MOST_PIXELS = 100_000
_REASONS = (
    *("empty", "truncated or damaged", "no image of a known format", "an HTML page"),
    *("more pixels than download.max_pixels", heic.WANTED),
    "more pixels than 178,956,970",
)


@cache
def _whole() -> dict[str, bytes]:
    """A small image of each format, in each mode and depth that anybody writes."""
    found = {**by_pillow(tuple(FORMATS)), **by_opencv()}
    small = Image.fromarray(head(1, 24))
    for name, options in {
        "animated.png": {"save_all": True, "append_images": [small.rotate(90)]},
        "animated.webp": {"save_all": True, "append_images": [small.rotate(90)]},
        "animated.gif": {"save_all": True, "append_images": [small.rotate(90)]},
        "progressive.jpg": {"progressive": True},
        "lzw.tif": {"compression": "tiff_lzw"},
        "jpeg.tif": {"compression": "jpeg"},
        "deflate.tif": {"compression": "tiff_adobe_deflate"},
    }.items():
        file = io.BytesIO()
        small.save(file, FORMATS_BY_ENDING[name.rpartition(".")[2]], **options)
        found[name] = file.getvalue()
    return found


FORMATS_BY_ENDING = {
    ending[1:]: format for format, endings in FORMATS.items() for ending in endings
}


def _read(data: bytes) -> None:
    """Pixels in RGB within the limit, or one of the reasons; for its size alone too."""
    for read in (lambda: decode(data, _MOST_PIXELS, 16), lambda: size_of(data)):
        try:
            found = read()
        except NoImage as reason:
            assert str(reason) in _REASONS
        else:
            if not isinstance(found, tuple):
                assert found.image.mode == "RGB" and found.format in FORMATS
                assert found.image.width * found.image.height <= _MOST_PIXELS
                np.asarray(found.image).sum()


@settings(max_examples=150)
@given(st.data())
def test_no_damage_leads_to_anything_but_pixels_or_a_reason(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(_whole())))
    _read(data.draw(damaged(_whole()[name])))


@pytest.mark.long
@settings(max_examples=60)
@given(st.data())
def test_nor_does_it_in_any_of_them(data: st.DataObject) -> None:
    for whole in _whole().values():
        _read(data.draw(damaged(whole)))


# --- PNG, whose chunks have checksums that damage does not pass


def _chunk(kind: bytes, content: bytes) -> bytes:
    sum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum)


def _header(width: int, height: int, depth: int, colour: int, interlace: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


_SIDES = st.sampled_from([0, 1, 2, 7, 16, 300, 2**16, 2**31 - 1, 2**32 - 1])
_KINDS = (b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"gAMA", b"acTL")
_CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(zlib.compress),
    st.sampled_from(
        [
            zlib.compress(bytes(300)),
            zlib.compress(bytes(10**6)),
            b"a\0\0" + zlib.compress(bytes(10**6)),
            b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\nffff"),
            b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x"),
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
            b"MM\0*\0\0\0\x08\xff\xff",
        ]
    ),
)


@settings(max_examples=100)
@given(
    st.tuples(
        *(
            _SIDES,
            _SIDES,
            st.sampled_from([1, 2, 4, 8, 16, 3]),
            st.integers(0, 7),
            st.integers(0, 2),
        )
    ),
    st.lists(st.tuples(st.sampled_from(_KINDS), _CONTENTS), max_size=5),
)
def test_chunks_that_are_whole_and_say_anything(
    header: tuple[int, int, int, int, int], chunks: list[tuple[bytes, bytes]]
) -> None:
    body = b"".join(_chunk(*chunk) for chunk in chunks)
    _read(b"\x89PNG\r\n\x1a\n" + _header(*header) + body + _chunk(b"IEND", b""))


# --- what is small and takes for ever


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    """Each is 14 bytes and goes over all pixels: a megabyte of them would take hours."""
    whole = encoded(np.full((64, 64), 100, np.uint8), "JPEG", progressive=True)
    assert decode(whole).size == (64, 64)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    assert decode(whole[:-2] + scan * 50 + whole[-2:]).size == (64, 64)
    for end in (whole[-2:], b""):
        with pytest.raises(NoImage, match="damaged"):
            decode(whole[:-2] + scan * 70_000 + end)


def test_markers_that_are_none_are_no_scans() -> None:
    """In what a camera notes, in fill bytes, and behind the image's end."""
    whole = encoded(head(3, 64), "JPEG")
    noted = b"\xff\xe9" + struct.pack(">H", 2 + 600) + b"\xff\xda" * 300
    for data in (whole[:2] + noted * 3 + whole[2:], whole + b"\xff\xda" * 600):
        assert decode(data).size == (64, 64)


def test_pngs_in_a_png_are_not_looked_at() -> None:
    """One within another within another: to check each would take the square of their number."""
    whole = encoded(head(4, 16))
    inner = b""
    for _ in range(2000):
        inner = b"\x89PNG\r\n\x1a\n" + _chunk(b"prVt", inner)
        if len(inner) > 30_000:
            break
    data = whole[:33] + _chunk(b"prVt", inner + whole[:40]) + whole[33:]
    assert decode(data).image.tobytes() == decode(whole).image.tobytes()


def test_only_the_first_profile_and_the_first_text_of_a_name_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lockstep.core import png

    unpacked: list[int] = []
    inflated = png._inflated
    monkeypatch.setattr(png, "_inflated", lambda *given: unpacked.append(1) or inflated(*given))
    whole = encoded(head(5, 16))
    packed = zlib.compress(bytes(2**20))
    more = _chunk(b"iCCP", b"a\0\0" + packed) * 20
    more += _chunk(b"zTXt", b"Raw profile type exif\0\0" + packed) * 20
    assert decode(whole[:33] + more + whole[33:]).size == (16, 16)
    assert len(unpacked) == 2


def test_an_icon_says_its_size_by_what_is_in_it(tmp_path: Path) -> None:
    inner = encoded(np.zeros((400, 300, 3), np.uint8))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + inner
    assert decode(icon).size == (300, 400)
    with pytest.raises(NoImage, match="more pixels"):
        decode(icon, _MOST_PIXELS)
