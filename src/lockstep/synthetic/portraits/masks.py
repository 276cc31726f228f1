"""A cloth or surgical mask over nose and mouth."""

from __future__ import annotations

import numpy as np

from lockstep.synthetic.portraits import head
from lockstep.synthetic.portraits.canvas import Window, curve, darker, tinted, to_bytes
from lockstep.synthetic.portraits.head import Light, Shell, lit, view
from lockstep.synthetic.portraits.people import Person
from lockstep.synthetic.primitives import RGB

_EDGE = 1.1  # where its sides are, in radians around the head from the nose
_PLEATS = (0.62, 0.82, 1.02)


def draw_mask(window: Window, person: Person, colour: RGB, light: Light) -> None:
    """Cloth from below the eyes to the chin, and bands to the ears.

    `window` reaches from the eyes to below the chin.
    """
    if window.empty:
        return
    bare = head.skull(person)
    shell = Shell(bare.top, bare.bottom + 0.05, bare.width * 1.04, bare.depth * 1.12)
    surface = view(shell, window.across, window.down, window.pose)
    away, y = np.abs(surface.angle), surface.y
    upper = 0.24 + 0.14 * np.minimum(away / 0.5, 1)
    tip = np.exp(-((away / 0.3) ** 2) - ((y - person.nose_y) / 0.22) ** 2)
    tone = lit(surface, light, window.pose) + 0.07 * tip - 0.05 * np.exp(-(((y - 0.95) / 0.2) ** 2))
    for pleat in _PLEATS:
        tone = tone * (1 - 0.22 * np.exp(-(((y - pleat) / 0.03) ** 2)) * (away < 0.95))
    inside = np.minimum(np.minimum(surface.inside, y - upper), _EDGE - away)
    window.cover(
        window.full(to_bytes(tinted(tone.astype(np.float32), colour))), inside.astype(np.float32)
    )
    for sign in (-1, 1):
        if sign * window.pose.yaw > 0.5:
            continue
        for start, ear in ((0.42, 0.05), (1.0, 0.5)):
            band = [window.at(sign * 0.9, start, 0.45), window.at(sign * 0.98, ear, 0.0)]
            window.brush.line(curve(band, 4), darker(colour, 0.9), 0.02)
