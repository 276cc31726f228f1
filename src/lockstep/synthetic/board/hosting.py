"""Where the replica's images stand, in which form, and what is wrong with some."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from PIL import ExifTags, Image

PAGES = "www.ptt.example"
IMGUR = "imgur.example"
MEEE = "i.meee.example"
OTHER = "images.example"

FORMS = ("webp", "avif", "animated", "palette", "cmyk", "grey16", "rotated")
"""How an image may be stored other than as it was drawn: it shows the same."""
FAULTS = ("missing", "removed", "page", "empty", "cut", "noise", "loop", "bomb")
"""Why an address may give no image, now and ever."""

_FORM_SHARE = 0.14
_FAULT_SHARE = 0.08
_DUPLICATE_SHARE = 0.04
_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Hosted:
    """An image at an address."""

    address: str  # as a crawl gives it: what the ways of writing it all come down to
    shows: int  # number of the image; some are there at two addresses
    form: str | None  # one of `FORMS`
    fault: str | None  # one of `FAULTS`


def hosted(count: int, seed: int) -> list[Hosted]:
    """`count` addresses; `shows` runs from 0 without a gap, over those without a fault."""
    found: list[Hosted] = []
    sound: list[Hosted] = []
    for number in range(count):
        random = Random(f"{seed} hosted {number}")
        address = _address(random, _name(seed, number))
        if random.random() < _FAULT_SHARE:
            # Something has to be there of which the rest is missing.
            found.append(Hosted(address, 0, None, random.choice(FAULTS)))
        elif sound and random.random() < _DUPLICATE_SHARE:
            found.append(replace(random.choice(sound), address=address))
        else:
            form = random.choice(FORMS) if random.random() < _FORM_SHARE else None
            found.append(Hosted(address, len(sound), form, None))
            sound.append(found[-1])
    return found


def written(address: str, random: Random, in_push: bool) -> str:
    """One of the ways in which people write an address, and the board makes a link of it."""
    text = address
    if f"//i.{IMGUR}/" in address:
        name = address.rsplit("/", 1)[1].removesuffix(".jpg")
        text = random.choice(
            (
                *[f"https://i.{IMGUR}/{name}.jpg"] * 4,
                f"http://i.{IMGUR}/{name}.jpg",
                f"https://i.{IMGUR}/{name}.JPG",
                f"https://i.{IMGUR}/{name}.jpg?1",
                f"https://{IMGUR}/{name}",
                f"http://m.{IMGUR}/{name}",
            )
        )
    return text + (random.choice((")", "]")) if in_push and random.random() < 0.2 else "")


def album(random: Random) -> str:
    """The address of a page with several images; there is nothing at it."""
    name = "".join(random.choice(_SIGNS) for _ in range(7))
    return f"https://{IMGUR}/{random.choice(('a', 'gallery'))}/{name}"


def _address(random: Random, name: str) -> str:
    kind = random.random()
    if kind < 0.7:
        return f"https://i.{IMGUR}/{name}.jpg"
    if kind < 0.85:
        return f"https://{MEEE}/{name}.jpg"
    return f"http://{OTHER}/{random.randint(2019, 2023)}/{name}.JPG"


def _name(seed: int, number: int) -> str:
    digest = int.from_bytes(hashlib.sha256(f"{seed} name {number}".encode()).digest())
    return "".join(_SIGNS[digest // len(_SIGNS) ** place % len(_SIGNS)] for place in range(7))


def recoded(data: bytes, form: str) -> tuple[bytes, str]:
    """(bytes, content type) of the same image in one of `FORMS`."""
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
        exif[ExifTags.Base.Orientation] = 6  # to be turned a quarter clockwise
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
