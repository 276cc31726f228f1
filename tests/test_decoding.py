"""One reader for every file: whole images, in sRGB; for damage a reason."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from lockstep.core import heic, jpeg
from lockstep.core.decoding import NoImage, decode, size_of
from lockstep.core.formats import ENDINGS, FORMATS
from odd_files import by_pillow, encoded, head, heic_photograph

PICTURE = head(5, 120)
DAMAGED = "^truncated or damaged$"


def pixels(data: bytes, **options: Any) -> NDArray[np.uint8]:
    return np.asarray(decode(data, **options).image)


def of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(width: int, height: int, rows: bytes, *more: bytes, packed: bytes | None = None) -> bytes:
    """A PNG of 8 bits a channel; `rows` begin with their filter each."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(rows) if packed is None else packed
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", content), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows_of(image: NDArray[np.uint8]) -> bytes:
    flat = image.reshape(len(image), -1)
    return np.pad(flat, ((0, 0), (1, 0))).tobytes()


# --- PNG


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_no_flipped_bit_of_a_png_changes_a_pixel(place: float, bit: int) -> None:
    whole = encoded(PICTURE)
    first, last = whole.index(b"IDAT"), whole.rindex(b"IEND")
    data = bytearray(whole)
    data[first + int(place * (last - first))] ^= 1 << bit
    with pytest.raises(NoImage, match=DAMAGED):
        decode(bytes(data))


def flipped(packed: bytes, bit: int) -> bytes:
    data = bytearray(packed)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("how", ["flipped", "zeros", "cut"])
def test_a_broken_deflate_stream_is_refused_though_its_crcs_are_right(
    part: float, how: str
) -> None:
    packed = zlib.compress(rows_of(PICTURE))
    at = int(len(packed) * part)
    broken = {
        "flipped": flipped(packed, 8 * at),
        "zeros": packed[:at] + bytes(len(packed) - at),
        "cut": packed[:at],
    }[how]
    with pytest.raises(NoImage, match=DAMAGED):
        decode(png(120, 120, b"", packed=broken))


def test_flipped_bits_with_right_crcs_are_seen_too() -> None:
    packed = zlib.compress(rows_of(PICTURE))
    for bit in random.Random(0).sample(range(16, 8 * len(packed)), 60):
        with pytest.raises(NoImage, match=DAMAGED):
            decode(png(120, 120, b"", packed=flipped(packed, bit)))


@pytest.mark.parametrize("rows", [rows_of(PICTURE[:-1]), rows_of(PICTURE) + b"\0", b""])
def test_a_png_has_exactly_the_pixels_of_its_header(rows: bytes) -> None:
    with pytest.raises(NoImage, match=DAMAGED):
        decode(png(120, 120, rows))


def test_a_filter_that_is_not_there_is_damage() -> None:
    rows = bytearray(rows_of(PICTURE))
    rows[361] = 7
    with pytest.raises(NoImage, match=DAMAGED):
        decode(png(120, 120, bytes(rows)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 9), (8, 8), (33, 17)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_whole_pngs_of_all_sizes_are_read(size: tuple[int, int], mode: str) -> None:
    image = Image.new("L", size, 77) if mode == "I;16" else Image.new("RGB", size, (9, 99, 199))
    data = of(image.convert(mode))
    assert pixels(data).shape == (size[1], size[0], 3)
    for end in (1, 12, 13, len(data) // 2):
        with pytest.raises(NoImage, match=DAMAGED):
            decode(data[:-end])
    assert np.array_equal(pixels(data + b"and more"), pixels(data))


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (4, 4), (7, 3), (8, 9), (20, 13)])
def test_interlaced_pngs_are_read(size: tuple[int, int]) -> None:
    """Seven passes; Pillow writes none, so they are written here."""
    width, height = size
    image = np.asarray(Image.fromarray(PICTURE).resize(size))
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    parts = [image[y::down, x::across] for x, y, across, down in (*passes, (0, 1, 1, 2))]
    rows = b"".join(rows_of(part) for part in parts if part.size)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    start = b"\x89PNG\r\n\x1a\n" + header
    end = chunk(b"IEND", b"")
    data = start + chunk(b"IDAT", zlib.compress(rows)) + end
    assert np.array_equal(pixels(data), image)
    with pytest.raises(NoImage):
        decode(start + chunk(b"IDAT", zlib.compress(rows[:-1])) + end)


LONG = bytes(range(1, 256)) * 10_000  # 2.5 MB


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"notes\0\0" + zlib.compress(LONG)),
        chunk(b"iTXt", b"notes\0\1\0\0\0" + zlib.compress(LONG)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LONG)),
        chunk(b"tEXt", b"notes\0" + LONG),
        chunk(b"iCCP", b"printer\0\0" + zlib.compress(LONG)),
        chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(2**26))),
        chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(2**26))),
        chunk(b"zTXt", b"broken\0\0 not deflated"),
        chunk(b"iCCP", b"broken\0\0 not deflated"),
        chunk(b"iCCP", b"cut"),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_long_texts_and_profiles_do_not_matter(extra: bytes, behind: bool) -> None:
    whole = png(120, 120, rows_of(PICTURE))
    at = whole.index(b"IEND" if behind else b"IDAT") - 4
    assert np.array_equal(pixels(whole[:at] + extra + whole[at:]), PICTURE)


def test_turns_are_found_in_exif_and_in_texts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    aside = np.ascontiguousarray(np.rot90(PICTURE))
    assert np.array_equal(pixels(encoded(aside, exif=exif)), PICTURE)
    raw = exif.tobytes()
    as_text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n"
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    for packed in (False, True):
        for key, text in (("Raw profile type exif", as_text), ("XML:com.adobe.xmp", xmp)):
            info = PngImagePlugin.PngInfo()
            info.add_itxt(key, text, zip=packed) if "XML" in key else info.add_text(
                key, text, zip=packed
            )
            found = pixels(encoded(aside, pnginfo=info))
            assert np.array_equal(found, PICTURE), (key, packed)


# --- JPEG


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("restart", [0, 3])
def test_a_jpeg_without_its_end_marker_is_read_if_no_pixel_is_missing(
    progressive: bool, mode: str, restart: int
) -> None:
    image = Image.fromarray(head(6, 200)).convert(mode)
    options = {"progressive": progressive, "restart_marker_blocks": restart}
    whole = of(image, "JPEG", quality=90, **options)
    assert whole.endswith(b"\xff\xd9")
    for end in (whole[:-2], whole[:-1], whole[:-2] + b"\xff"):
        for side in (None, 20):
            found = pixels(end, least_side=side)
            assert np.array_equal(found, pixels(whole, least_side=side))
    tails = (b"", b"\xff", bytes(3000))
    for part in (0.3, 0.6, 0.9, 0.97):
        cut = whole[: int(len(whole) * part)]
        for tail in tails if progressive else (*tails, b"\xff\xd9"):
            with pytest.raises(NoImage, match=DAMAGED):
                decode(cut + tail)
            with pytest.raises(NoImage, match=DAMAGED):
                decode(cut + tail, least_side=20)


def test_a_jpeg_that_ends_in_grey_is_whole() -> None:
    for size in ((40, 40), (97, 51)):
        for mode in ("RGB", "L", "CMYK"):
            grey = of(Image.new("RGB", size, (128, 128, 128)).convert(mode), "JPEG")
            assert abs(pixels(grey).astype(int) - 128).max() <= 2
            assert np.array_equal(pixels(grey[:-2]), pixels(grey))
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xd9 is no end here"
    data = of(Image.new("RGB", (64, 64), (128, 128, 128)), "JPEG", exif=thumbnail.tobytes())
    assert pixels(data).shape == (64, 64, 3)


def test_what_follows_a_jpeg_is_no_part_of_it() -> None:
    whole = encoded(PICTURE, "JPEG")
    assert np.array_equal(pixels(whole + b"a film, say" * 1000), pixels(whole))
    assert jpeg.START in whole


def test_truncated_files_stay_refused() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# --- all formats


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_read_and_half_of_it_refused(format: str) -> None:
    files = {name: data for name, data in by_pillow([format]).items() if "RGB" in name}
    for name, data in files.items():
        assert decode(data).format in FORMATS, name
        with pytest.raises(NoImage):
            decode(data[: len(data) // 2])
    assert files or format == "SUN"


def test_every_ending_is_of_one_format() -> None:
    assert len(set(ENDINGS)) == len(ENDINGS)
    assert all(ending.startswith(".") and ending == ending.lower() for ending in ENDINGS)


def test_a_damaged_png_in_an_icon_is_refused() -> None:
    data = bytearray(of(Image.fromarray(PICTURE).resize((64, 64)), "ICO", sizes=[(64, 64)]))
    assert pixels(bytes(data)).shape == (64, 64, 3)
    data[data.index(b"IDAT") + 500] ^= 4
    with pytest.raises(NoImage, match=DAMAGED):
        decode(bytes(data))


def test_heic_is_named_where_it_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "IS_READ", False)
    with pytest.raises(NoImage, match=r"^HEIC, which `pip install pillow-heif` makes readable$"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_heic_is_read_upright_where_pillow_heif_is_there() -> None:
    pytest.importorskip("pillow_heif")
    data = heic_photograph()
    found = decode(data)
    assert (found.format, found.size, size_of(data)) == ("HEIF", (48, 64), (48, 64))
    blue, red, white, green = (
        np.asarray(found.image)[y, x].astype(int) for y in (8, -8) for x in (8, -8)
    )
    for colour, expected in (
        (blue, (40, 60, 200)),
        (red, (200, 30, 30)),
        (white, (240, 240, 240)),
        (green, (30, 160, 60)),
    ):
        assert np.abs(colour - expected).max() <= 4
    with pytest.raises(NoImage, match=r"^more pixels than download\.max_pixels$"):
        decode(data, 64 * 48 - 1)
    for cut in range(20, len(data), 7):
        with pytest.raises(NoImage, match=DAMAGED):
            decode(data[:cut])


def test_200_megapixels_are_refused_before_they_are_unpacked() -> None:
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(NoImage, match=r"^more pixels than download\.max_pixels$"):
        decode(data, 50_000_000)


# --- colours


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def tag(kind: bytes, content: bytes) -> bytes:
    return kind + bytes(4) + content


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2 for a screen, ICC.1:2001-04."""
    table, body = struct.pack(">I", len(tags)), b""
    at = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = bytearray(128)
    header[8:12] = b"\x02\x10\0\0"
    header[12:24] = b"mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)  # D50
    whole = bytes(header) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def xyz(*values: float) -> bytes:
    return tag(b"XYZ ", struct.pack(">3i", *(round(value * 65536) for value in values)))


def gamma(value: float) -> bytes:
    return tag(b"curv", struct.pack(">IH", 1, round(value * 256)))


WHITE = {b"wtpt": xyz(0.9642, 1.0, 0.8249)}
# The primaries of sRGB with red and green swapped: what it means is plain to see.
SWAPPED = profile(
    b"RGB ",
    WHITE
    | {
        b"rXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"gXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
    }
    | {name: gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")},
)
DARK = profile(b"GRAY", WHITE | {b"kTRC": gamma(4.0)})
FORMATS_WITH_PROFILES = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")


@pytest.mark.parametrize("format", FORMATS_WITH_PROFILES)
def test_a_profile_is_followed(format: str) -> None:
    red = Image.new("RGB", (32, 32), (255, 0, 0))
    assert pixels(of(red, format))[16, 16, 0] > 240
    found = pixels(of(red, format, icc_profile=SWAPPED))[16, 16]
    assert found[1] > 240 and found[0] < 16


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_has_a_profile_too(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.putpixel((0, 0), (255, 0, 0, 0))
    found = pixels(of(image, format, icc_profile=SWAPPED, **options))
    assert found[0, 0].min() == 255
    assert found[4, 4, 1] > 240 and found[4, 4, 0] < 16


def test_palettes_and_greys_have_profiles() -> None:
    palette = Image.new("RGB", (8, 8), (255, 0, 0)).convert("P")
    assert pixels(of(palette, icc_profile=SWAPPED))[0, 0, 1] > 240
    for mode in ("L", "LA"):
        grey = Image.new("L", (8, 8), 128).convert(mode)
        found = pixels(of(grey, icc_profile=DARK))[0, 0]
        assert found.max() - found.min() <= 1 and 40 < found[0] < 90
    found = pixels(of(Image.new("L", (8, 8), 128), icc_profile=SWAPPED))[0, 0]
    assert 125 < found[0] < 131


@pytest.mark.parametrize("format", FORMATS_WITH_PROFILES)
@pytest.mark.parametrize(
    "own", [srgb(), b"", b"no profile", SWAPPED[:200], DARK, bytes(5000)], ids=range(6)
)
def test_a_profile_of_srgb_or_of_nothing_leaves_the_bytes(format: str, own: bytes) -> None:
    plain, said = (of(Image.fromarray(PICTURE), format, icc_profile=icc) for icc in (None, own))
    assert np.array_equal(pixels(said), pixels(plain))


def test_damaged_profiles_are_ignored() -> None:
    rng = random.Random(1)
    for _ in range(40):
        data = bytearray(SWAPPED)
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        assert pixels(encoded(PICTURE, icc_profile=bytes(data))).shape == PICTURE.shape
