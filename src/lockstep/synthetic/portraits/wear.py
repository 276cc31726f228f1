"""What people wear on their heads."""

from __future__ import annotations

import numpy as np

from lockstep.synthetic.portraits import head
from lockstep.synthetic.portraits.brush import Brush, curve, ellipse
from lockstep.synthetic.portraits.features import darker, mixed
from lockstep.synthetic.portraits.head import Array, place, view
from lockstep.synthetic.portraits.light import Light, lit
from lockstep.synthetic.portraits.people import Person
from lockstep.synthetic.portraits.strands import flow
from lockstep.synthetic.portraits.window import Window, tinted, to_bytes


def earring(brush: Brush, at: tuple[float, float]) -> None:
    """A small ball of gold."""
    brush.ellipse(at, (0.06, 0.06), (214, 178, 96))
    brush.ellipse((at[0] - 0.015, at[1] - 0.02), (0.022, 0.022), (255, 246, 215))


def glasses(window: Window, person: Person) -> None:
    """Rims a little in front of the eyes, a bridge, and temples to the ears."""
    brush = window.brush
    frame = mixed(person.accent, (24, 20, 20), 0.8)
    rx, ry, corner = (0.27, 0.25, 1.0) if person.glasses == "round" else (0.30, 0.21, 0.5)
    unit = ellipse((0, 0), (1, 1))
    unit = np.sign(unit) * np.abs(unit) ** corner
    for sign in (-1, 1):
        middle = sign * person.eye_x
        rim = [
            window.at(middle + x * rx, 0.03 + y * ry, 1.08 - 0.25 * (middle + x * rx) ** 2)
            for x, y in unit
        ]
        brush.line(rim, frame, 0.04, closed=True)
        if sign * window.pose.yaw < 0.35:
            hinge = window.at(sign * (person.eye_x + rx), -0.04, 0.95)
            brush.line([hinge, window.at(sign * 0.99, -0.02, 0.25)], frame, 0.04)
    gap = person.eye_x - rx
    bridge = [window.at(x, y, 1.12) for x, y in ((-gap, 0.0), (0.0, -0.05), (gap, 0.0))]
    brush.line(curve(bridge, 10), frame, 0.035)


def hat(window: Window, person: Person, light: Light, grain: Array) -> None:
    """A ribbed cap, a head band, or a hat with a brim."""
    if window.empty:
        return
    base = head.hair(person) if person.volume else head.skull(person)
    shell = head.grown(base, 0.1, -0.6 if person.hat == "band" else -0.5)
    seen = view(shell, window.across, window.down, window.pose)
    inside = seen.inside
    tone = lit(seen, light, window.pose) + 0.02 * flow(grain, seen.angle * 3, seen.y)
    if person.hat == "band":
        inside = np.minimum(inside, seen.y + 0.95)
    else:
        tone = tone * np.where(seen.y > -0.8, np.float32(0.84), np.float32(1))
    if person.hat == "beanie":
        tone = tone * (1 + 0.06 * np.sin(seen.angle * 60))
    colour = to_bytes(tinted(tone.astype(np.float32), person.hat_colour))
    window.cover(window.full(colour), inside.astype(np.float32))
    if person.hat == "brim":
        x, y = place((0, -0.66, 0.45), window.pose)
        for lower, reach, thick, shade in ((0.0, 1.75, 0.22, 0.9), (0.05, 1.6, 0.12, 0.6)):
            rim = [window.rolled(*point) for point in ellipse((x, y + lower), (reach, thick))]
            window.brush.polygon(rim, darker(person.hat_colour, shade))
