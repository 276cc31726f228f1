"""Portraits drawn by the project, each with annotations of its faces.

Most images show one person who faces the viewer; the others have turned, leaning, blurred, masked,
tiny or several heads, or none (see `plans.KINDS`). All of it depends on the arguments alone.
"""

from lockstep.synthetic.portraits.drawing import draw, image
from lockstep.synthetic.portraits.plans import Face, annotated_faces

__all__ = ["Face", "annotated_faces", "draw", "image"]
