"""One person on a canvas: shoulders, neck, head and hair in the light."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.synthetic.painting import ellipse, mixed
from lockstep.synthetic.portraits import features, head
from lockstep.synthetic.portraits.canvas import Window, curve, darker, tinted, to_bytes
from lockstep.synthetic.portraits.features import REACH_X, REACH_Y
from lockstep.synthetic.portraits.head import Array, Light, Shell, Surface, flow, lit, view
from lockstep.synthetic.portraits.masks import draw_mask
from lockstep.synthetic.portraits.people import Person, Pose
from lockstep.synthetic.portraits.plans import Figure

_LARGEST_MAP = 260.0  # pixels a unit, of the painted face


def draw_person(
    canvas: NDArray[np.uint8], figure: Figure, light: Light, rng: np.random.Generator
) -> None:
    """Draw onto `canvas` (H, W, 3); `rng` places hairs and freckles.

    Only the head is turned by the figure's pose; the body faces the viewer.
    """
    person = figure.person

    def window(top: float, bottom: float, reach: float = 1.45) -> Window:
        return Window(canvas, figure, top, bottom, reach)

    grain = head.streaks(rng)
    locks = head.hair(person) if person.volume else None
    if window(-2.3, 1.7).empty:
        return
    if locks is not None:
        _back_hair(window(locks.top - 0.2, locks.bottom + 0.2), locks, person, grain)
    _body(window(0, 1), person, light)
    _ears(window(0, 1), person, light)
    _face(window(-1.7, 1.7, 1.15), person, light, rng)
    if figure.mask is not None:
        draw_mask(window(-0.2, 1.9, 1.3), person, figure.mask, light)
    if locks is not None:
        _front_hair(window(locks.top - 0.2, locks.bottom + 0.2), locks, person, light, grain)
    if person.glasses:
        _glasses(window(0, 1), person)
    if person.hat:
        _hat(window(-2.3, -0.3), person, light, grain)


def _back_hair(window: Window, locks: Shell, person: Person, grain: Array) -> None:
    """The hair behind neck and face: dark, since it is in their shade."""
    if person.haircut == "bun":
        _bun(window, person)
    if window.empty:
        return
    surface = view(locks, window.across, window.down, Pose(window.pose.yaw * 0.6))
    strand = flow(grain, surface.angle * 1.7, surface.y)
    colour = tinted(0.46 + 0.06 * strand, person.hair)
    ends = np.minimum(surface.inside, locks.bottom - 0.1 - surface.y + 0.05 * strand)
    window.cover(window.full(to_bytes(colour)), ends)


def _bun(window: Window, person: Person) -> None:
    x, y = window.at(0, -1.62, -0.5)
    brush = window.brush
    brush.ellipse((x, y), (0.5, 0.42), darker(person.hair, 0.8))
    brush.ellipse((x - 0.08, y - 0.1), (0.32, 0.22), person.hair)
    for k in range(6):
        coil = [(x - 0.42 + 0.1 * k, y + 0.2), (x, y - 0.36 + 0.1 * k), (x + 0.42, y + 0.1)]
        brush.line(curve(coil), darker(person.hair, 0.6), 0.014)


def _mirrored(right: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed outline from its right half, top to bottom."""
    return np.concatenate([right, (right * [-1, 1])[::-1]])


def _body(window: Window, person: Person, light: Light) -> None:
    """Shoulders, collar and neck."""
    body = window.brush
    skin = darker(person.skin, 0.80 * (light.ambient + 0.65 * light.key))
    cloth = darker(person.cloth, 0.94 * (light.ambient + 0.8 * light.key))
    crease = darker(cloth, 0.7)
    shoulder = [(0.0, 1.9), (0.62, 1.95), (1.35, 2.2), (2.0, 2.5), (2.35, 3.1), (2.5, 4.2)]
    body.polygon(_mirrored(curve([*shoulder, (2.6, 9.0)], 40)), cloth)
    far = -1 if light.direction[0] > 0 else 1
    shade = np.array([(1.35, 2.2), *shoulder[3:], (2.6, 9), (1.8, 9), (1.75, 4.2), (1.65, 3.1)])
    body.polygon(curve(shade, 40) * [far, 1], darker(cloth, 0.86))
    for sign in (-1, 1):
        body.line(curve([(sign * 1.55, 3.1), (sign * 1.48, 3.8), (sign * 1.5, 4.6)]), crease, 0.025)
    low = {"v": 3.05, "scoop": 2.6, "shirt": 2.75}.get(person.collar)
    if low is not None:
        widest = 0.62 if person.collar == "scoop" else 0.35
        gap = _mirrored(curve([(0.70, 1.9), (widest, (1.9 + low) / 2 + 0.15), (0.0, low)]))
        body.polygon(gap, skin)
        body.line(gap, crease, 0.03)
    neck = curve([(0.66, 0.8), (0.56, 1.4), (0.58, 1.75), (0.85, 2.02), (0, 2.28)])
    body.polygon(_mirrored(neck), skin)
    # The chin's shadow follows the head.
    x, _ = window.at(0, 1.2, 0.5)
    cut = [(-0.60, 1.2), (-0.5 + 0.3 * x, 1.6), (0.3 * x, 1.78), (0.5 + 0.3 * x, 1.6), (0.60, 1.2)]
    body.polygon(curve(cut), darker(skin, 0.7))
    if person.collar == "shirt":
        for sign in (-1, 1):
            flap = np.array([(0.66, 1.78), (0.95, 2.1), (0.55, 2.75), (0.08, 2.45)]) * [sign, 1]
            body.polygon(flap, mixed(cloth, (255, 255, 255), 0.25))
            body.line(flap, crease, 0.02, closed=True)
    elif person.collar == "crew":
        rim = curve([(-0.86, 1.98), (-0.5, 2.24), (0, 2.36), (0.5, 2.24), (0.86, 1.98)])
        body.line(rim, mixed(cloth, darker(person.accent, 0.8), 0.6), 0.11)


def _ears(window: Window, person: Person, light: Light) -> None:
    brush, pose = window.brush, window.pose
    for sign in (-1, 1):
        if sign * pose.yaw > 0.5:
            continue  # behind the head
        x, y = window.at(sign * 0.97, 0.2, -0.05)
        brightness = light.ambient + light.key * (0.55 + 0.4 * sign * light.direction[0])
        tone = darker(person.skin, brightness * 0.95)
        turn = pose.roll + sign * 0.15
        brush.ellipse((x, y), (0.13, 0.29), tone, turn)
        brush.ellipse((x - sign * 0.02, y), (0.06, 0.19), darker(tone, 0.74), turn)
        if person.earrings:
            x, y = window.at(sign * 1.02, 0.56, -0.05)
            brush.ellipse((x, y), (0.06, 0.06), (214, 178, 96))
            brush.ellipse((x - 0.015, y - 0.02), (0.022, 0.022), (255, 246, 215))


def _face(window: Window, person: Person, light: Light, rng: np.random.Generator) -> None:
    scale = min(max(window.scale * 1.15, 40.0), _LARGEST_MAP)
    colours = features.paint(person, scale, rng)
    if window.empty:
        return
    heights = features.relief(person)
    flat = view(head.skull(person), window.across, window.down, window.pose)
    surface = flat
    if abs(window.pose.yaw) > 0.02 or abs(window.pose.pitch) > 0.02:
        # What stands out moves with the turn: look where it would have come from.
        for _ in range(2):
            raised = _on_map(heights, surface)
            surface = view(head.skull(person), window.across, window.down, window.pose, raised)
    surface = _with_relief(surface, heights, window.pose)
    brightness = lit(surface, light, window.pose)
    # The skin's sheen, on forehead, nose and cheeks.
    half = np.array(light.direction) + np.array([0, 0, 1])  # towards lamp and viewer
    x, y, z = (half / np.linalg.norm(half)).tolist()
    nx, ny, nz = surface.normal
    towards = nx * x + ny * y + nz * z
    sheen = np.clip(towards, 0, 1) ** 24 * 20

    x = window.full((surface.x + REACH_X) * np.float32(scale) - 0.5)
    y = window.full((surface.y + REACH_Y) * np.float32(scale) - 0.5)
    colour = cv2.remap(colours, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    white = (1.0, 1.0, 1.0)
    colour = cv2.multiply(colour, window.full(tinted(brightness, white)), dtype=cv2.CV_8U)
    colour = cv2.add(colour, window.full(to_bytes(tinted(sheen, white))))
    window.cover(colour, flat.inside)


def _on_map(table: Array, surface: Surface) -> Array:
    """A small map of the front of the head, read where the surface is visible."""
    x = (surface.x + REACH_X) * np.float32((table.shape[0] - 1) / (2 * REACH_X))
    y = (surface.y + REACH_Y) * np.float32((table.shape[0] - 1) / (2 * REACH_Y))
    return cv2.remap(table, x, y, cv2.INTER_LINEAR)


def _with_relief(surface: Surface, heights: Array, pose: Pose) -> Surface:
    """The normals bent by the slopes of the relief."""
    side = heights.shape[0]
    slope_y, slope_x = np.gradient(heights)
    gx = _on_map((slope_x * ((side - 1) / (2 * REACH_X))).astype(np.float32), surface)
    gy = _on_map((slope_y * ((side - 1) / (2 * REACH_Y))).astype(np.float32), surface)
    nx, ny, nz = surface.normal
    nx = nx - gx * np.float32(math.cos(pose.yaw))
    ny = ny - gy
    nz = nz + gx * np.float32(math.sin(pose.yaw))
    scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    return replace(surface, normal=(nx * scale, ny * scale, nz * scale))


def _front_hair(window: Window, locks: Shell, person: Person, light: Light, grain: Array) -> None:
    """Hair over the head down to the hairline, and down the sides."""
    if window.empty:
        return
    surface = view(locks, window.across, window.down, window.pose)
    strand = flow(grain, surface.angle + 0.25 * (surface.y + 1) * np.sign(surface.angle), surface.y)
    away = np.abs(surface.angle)
    # The hairline swings up at the parting and down towards the temples.
    apart = np.abs(surface.angle - np.float32(person.parting))
    line = person.fringe + 0.16 * np.clip(apart - 0.1, 0, 1.2)
    line = line - 0.22 * np.exp(-((apart / 0.14) ** 2)) + 0.07 * strand * np.exp(-(away**4))
    above = line - surface.y
    inner = person.sides + 0.02 * strand
    if person.haircut in ("long", "bob"):
        inner = inner + 0.10 * np.sin(surface.y * 1.7)
    else:
        inner = inner + np.clip(surface.y + 0.4, 0, 2) * 0.8
    beside = (away - inner) * 0.9
    ends = locks.bottom - 0.1 - surface.y + 0.06 * strand
    distance = np.minimum(np.minimum(surface.inside, ends), np.maximum(above, beside))

    _, ny, nz = surface.normal
    tone = lit(surface, light, window.pose) * (0.95 + 0.14 * strand)
    # A band of gloss where the hair turns towards the lamp.
    gloss = np.exp(-(((ny + 0.45) / 0.16) ** 2)) * np.clip(nz, 0, 1)
    gloss = gloss * np.clip(0.19 + 0.12 * strand, 0.02, 0.5)
    red, green, blue = person.hair
    shine = tinted(gloss, (red * 0.55 + 80, green * 0.55 + 80, blue * 0.55 + 80))
    colour = to_bytes(tinted(tone, person.hair) + shine)
    window.cover(window.full(colour), distance.astype(np.float32))


def _glasses(window: Window, person: Person) -> None:
    """Rims a little in front of the eyes, a bridge, and temples to the ears."""
    brush = window.brush
    frame = mixed(person.accent, (24, 20, 20), 0.8)
    rx, ry, corner = (0.27, 0.25, 1.0) if person.glasses == "round" else (0.30, 0.21, 0.5)
    unit = ellipse((0, 0), (1, 1))
    unit = np.sign(unit) * np.abs(unit) ** corner
    for sign in (-1, 1):
        middle = sign * person.eye_x
        points = unit * (rx, ry) + (middle, 0.03)
        rim = [window.at(x, y, 1.08 - 0.25 * x**2) for x, y in points]
        brush.line(rim, frame, 0.04, closed=True)
        if sign * window.pose.yaw < 0.35:
            hinge = window.at(sign * (person.eye_x + rx), -0.04, 0.95)
            brush.line([hinge, window.at(sign * 0.99, -0.02, 0.25)], frame, 0.04)
    gap = person.eye_x - rx
    bridge = [window.at(x, y, 1.12) for x, y in ((-gap, 0.0), (0.0, -0.05), (gap, 0.0))]
    brush.line(curve(bridge, 10), frame, 0.035)


def _hat(window: Window, person: Person, light: Light, grain: Array) -> None:
    """A ribbed cap, a head band, or a hat with a brim."""
    if window.empty:
        return
    base = head.hair(person) if person.volume else head.skull(person)
    shell = head.grown(base, 0.1, -0.6 if person.hat == "band" else -0.5)
    surface = view(shell, window.across, window.down, window.pose)
    inside = surface.inside
    tone = lit(surface, light, window.pose) + 0.02 * flow(grain, surface.angle * 3, surface.y)
    if person.hat == "band":
        inside = np.minimum(inside, surface.y + 0.95)
    else:
        tone = tone * np.where(surface.y > -0.8, np.float32(0.84), np.float32(1))
    if person.hat == "beanie":
        tone = tone * (1 + 0.06 * np.sin(surface.angle * 60))
    colour = to_bytes(tinted(tone.astype(np.float32), person.hat_colour))
    window.cover(window.full(colour), inside.astype(np.float32))
    if person.hat == "brim":
        x, y = head.place((0, -0.66, 0.45), window.pose)
        for lower, reach, thick, shade in ((0.0, 1.75, 0.22, 0.9), (0.05, 1.6, 0.12, 0.6)):
            points = ellipse((x, y + lower), (reach, thick))
            rim = [head.rolled(across, down, window.pose) for across, down in points]
            window.brush.polygon(rim, darker(person.hat_colour, shade))
