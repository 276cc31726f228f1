"""Files as people keep them in folders: images of all sorts, and what is none."""

from __future__ import annotations

import base64
import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lockstep.synthetic.heads import draw


def encoded(image: NDArray[np.uint8], format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def head(number: int, side: int = 96) -> NDArray[np.uint8]:
    """An image unlike those of other numbers."""
    return draw(7, number, side)


FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000", "ICO", "TGA", "PCX"),
    *("SGI", "QOI", "DDS", "IM", "SPIDER", "PDF"),
)


def by_pillow(formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """A head in each format and mode that Pillow writes; different heads throughout."""
    found = {}
    number = 100
    modes = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F")
    for format in formats:
        for mode in (*modes, "I;16"):
            number += 1
            grey = Image.fromarray(head(number)).convert("L")
            wide = np.asarray(grey).astype(np.uint16) * 257
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = Image.fromarray(head(number))
                    if mode == "I;16":
                        image = Image.fromarray(wide)
                    elif mode == "I":
                        image = Image.fromarray(wide.astype(np.int32))
                    elif mode == "PA":
                        image = image.convert("P").convert("PA")
                    else:
                        image = image.convert(mode)
                    file = io.BytesIO()
                    image.save(file, format)
            except (OSError, ValueError, KeyError, AttributeError):
                continue
            found[f"{format}-{mode.replace(';', '')}"] = file.getvalue()
    return found


# 64 x 48, of four colours in its corners, and EXIF says to turn it to the right. There may be a
# reader of HEIC here, and no writer.
_HEIC = (
    r"0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0005VZDn*}000000000XXk=`10000000000aA{+7000000000000000"
    r"00000G-"
    r"+&aV*mgE07O6l0ssL300001>;M4(00000007DW0ssI200OoE0RR9100000Bme*aIB98aW&i*H00062000$fZf0cy00"
    r"0000RRAKc4ILB0000LX>Mj^0ssI300IC2MR;ju000004sdC7Z2$lO00031009SSaB^?}008D`aAR)(004Gqc4I>U18"
    r"@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E{{wIU00RJ!0009300RIXx&lC90096hLID8-"
    r"Z~y=U0FVFx0{{R603M(qfd!W8<fgf}2xu@M00096AOHXZ03l)k0RRR>0l{;?i2wiq6Ju{|a&BX6cmM$a4FCp!0000K"
    r"X>)L8000000000$0000$0000eV{Bn?0000$000010000m000010000000002|NsB+000020000GaA|mH000000|*ER"
    r"00009X>xCL0{{R38EJ5BVE_OC000000RRC8fdT^sgoXeB02*m>Wo7^X0000001jhhb7KGk009620002?ZDe6|0002S"
    r"C;_ht;2}7v|MNU={`{Snw8tlvr@vVL_AvX#uK(dtw@2vknlSFZ1pn~QZETE`)PMZivhl4GnuoA5z;nMFp?3I|N^1O("
    r"Oqnrk-P`~nw^_e-A!%=FcR!Q2AqBQY7)j7JlH^Q06LY5lVQY~M&3)O_<hoF{eo+9%*b;n0cToyx5ZqpH^-"
    r"6>|Mx&64(Ut^jl(1OXI-n6Tv;-E0N2ZomEpH(vnth`PXCVU@k3T3zF!ObNYvNH=x?#gL>)`Q`$^-xa00u>PX=VTbO-"
    r"%qQ000080099K00RI30096700000000"
)


def heic_photograph() -> bytes:
    """A photograph of a phone that was held upright: 48 x 64; blue, red, white, green."""
    return base64.b85decode(_HEIC)


def by_opencv() -> dict[str, bytes]:
    """The same by OpenCV, in its depths."""
    found = {}
    endings = ".png .jpg .webp .bmp .tiff .ppm .pgm .pam .pfm .jp2 .avif .gif .hdr .exr .sr"
    number = 1000
    for ending in endings.split():
        for kind in ("u8", "u16", "grey16", "alpha", "float"):
            number += 1
            bgr: Any = cv2.cvtColor(head(number), cv2.COLOR_RGB2BGR)
            if kind == "u16":
                bgr = bgr.astype(np.uint16) * 257
            elif kind == "grey16":
                bgr = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257
            elif kind == "alpha":
                bgr = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])
            elif kind == "float":
                bgr = bgr.astype(np.float32) / 255
            try:
                done, data = cv2.imencode(ending, bgr)
            except cv2.error:
                continue
            if done:
                found[f"cv-{kind}{ending}"] = data.tobytes()
    return found


def others() -> dict[str, bytes]:
    """What else is found in folders: turned, truncated, empty, no images, copies."""
    turned = Image.Exif()
    turned[0x0112] = 6
    jpeg = encoded(head(2000), "JPEG", quality=95)
    frames = [Image.fromarray(head(number)) for number in (2001, 2002)]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    return {
        "turned.jpg": encoded(head(2003), "JPEG", exif=turned.tobytes(), quality=95),
        "long name.of a.image.jpeg.png": encoded(head(2004), "WEBP"),
        "animation.gif": animation.getvalue(),
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "one pixel.png": encoded(head(2005, 1)),
        "strip.png": encoded(np.tile(head(2006), (1, 5, 1))),
        "blank.png": encoded(np.full((80, 80, 3), 200, np.uint8)),
        "empty.png": b"",
        "Thumbs.db": b"\xd0\xcf\x11\xe0 not an image",
        "page.jpg": b"<!doctype html><p>gone",
        "bomb.png": encoded(np.zeros((4000, 3000, 3), np.uint8)),
        "exact copy.jpg": jpeg,
        "exact copy again.jpg": jpeg,
        "near copy.webp": encoded(head(2000, 130), "WEBP", quality=60),
    }


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels; a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
