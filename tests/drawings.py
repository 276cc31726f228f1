"""Images simple enough to draw for a test by the hundred."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Drawing:
    """A file as `lockstep.synthetic.board` serves it."""

    data: bytes
    content_type: str = "image/jpeg"


def drawing(number: int) -> Drawing:
    """A small ramp of a colour of its own."""
    image = Image.linear_gradient("L").resize((48, 32))
    tint = Image.new("L", image.size, number % 251)
    other = Image.new("L", image.size, number // 251)
    out = io.BytesIO()
    Image.merge("RGB", (image, tint, other)).save(out, "PNG")
    return Drawing(out.getvalue(), "image/png")
