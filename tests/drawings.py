"""Images simple enough to draw for a test by the hundred."""

from __future__ import annotations

import io

from PIL import Image

from lockstep.synthetic.painting import ImageFile


def drawing(number: int) -> ImageFile:
    """A small ramp of a colour of its own."""
    image = Image.linear_gradient("L").resize((48, 32))
    tint = Image.new("L", image.size, number % 251)
    other = Image.new("L", image.size, number // 251)
    out = io.BytesIO()
    Image.merge("RGB", (image, tint, other)).save(out, "PNG")
    return ImageFile(out.getvalue(), "image/png")
