"""Colours as an image's ICC profile means them, in sRGB."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # by a profile's colour space
_SAME = 2  # of 255: a profile that changes no colour by more is that of sRGB


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An image of mode L, RGB or CMYK in sRGB, relative to white and black.

    It stays as it is if the profile is sRGB's own, cannot be read, or is for other images.
    """
    found = _transform(profile)
    if found is None:
        return image
    mode, transform = found
    if (image.mode, mode) == ("L", "RGB"):
        image = image.convert("RGB")
    if image.mode != mode:
        return image
    applied = ImageCms.applyTransform(image, transform)
    assert applied is not None, "it is None only in place"
    return applied


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _MODES[own.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(
            own,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if _is_identity(transform, mode) else (mode, transform)
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError):
        return None


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    probe = Image.fromarray(colours if mode == "RGB" else levels[None])
    if mode == "CMYK":
        return False
    after = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int)
    return bool(np.abs(after - np.asarray(probe.convert("RGB"))).max() <= _SAME)
