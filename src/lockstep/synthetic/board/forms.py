"""Image files as people keep them: other formats, other modes, and what is left of some."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112


def recoded(data: bytes, form: str) -> tuple[bytes, str]:
    """(bytes, content type) of the same image in one of `hosting.FORMS`."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    if form == "webp":
        return _saved(rgb, "WEBP", quality=90), "image/webp"
    if form == "avif":
        return _saved(rgb, "AVIF", quality=85, speed=10), "image/avif"
    if form == "animated":
        others = [Image.new("RGB", rgb.size, "white")]
        return _saved(rgb, "GIF", save_all=True, append_images=others), "image/gif"
    if form == "palette":
        return _saved(rgb.quantize(256), "PNG"), "image/png"
    if form == "cmyk":
        return _saved(rgb.convert("CMYK"), "JPEG", quality=92), "image/jpeg"
    if form == "grey16":
        grey = np.asarray(rgb.convert("L")).astype(np.uint16) * 257
        return _saved(Image.fromarray(grey), "PNG"), "image/png"
    if form == "rotated":
        exif = Image.Exif()
        exif[_ORIENTATION] = 6  # to be turned a quarter clockwise
        lying = rgb.transpose(Image.Transpose.ROTATE_90)
        return _saved(lying, "JPEG", quality=92, exif=exif), "image/jpeg"
    raise ValueError(f"unknown form {form!r}")


def bomb(side: int = 50_000) -> bytes:
    """A small PNG that claims to be `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    )


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
