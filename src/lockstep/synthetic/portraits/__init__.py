"""Portraits drawn by the project, each with the truth about its faces.

`draw(seed, index)` gives pixels, `image(index)` a file, and `truth(seed, index)` tells at once
what faces are in it. Most images show one person who faces the viewer; the others have turned,
leaning, blurred, tiny or several heads, or none (see `KINDS`). All of it depends on the arguments
alone.
"""

from lockstep.synthetic.portraits.drawing import Portrait, draw, image
from lockstep.synthetic.portraits.plans import KINDS, Box, Face, kind_of, truth

__all__ = [
    "KINDS",
    "Box",
    "Face",
    "Portrait",
    "draw",
    "image",
    "kind_of",
    "truth",
]
