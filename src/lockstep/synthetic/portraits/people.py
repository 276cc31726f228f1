"""Who is drawn: the features of a person, chosen at random.

Lengths are in half widths of the head; y runs down from the line of the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

RGB: TypeAlias = tuple[float, float, float]

SKINS: tuple[RGB, ...] = (
    (250, 221, 201),
    (243, 206, 180),
    (235, 192, 160),
    (222, 174, 138),
    (203, 152, 114),
    (173, 122, 86),
    (140, 94, 65),
    (112, 74, 52),
)
HAIRS: tuple[RGB, ...] = (
    (28, 24, 26),
    (40, 30, 27),
    (62, 42, 32),
    (92, 60, 40),
    (124, 78, 44),
    (150, 74, 40),
    (196, 156, 98),
    (168, 164, 162),
    (148, 76, 108),
    (66, 84, 124),
)
_HAIR_WEIGHTS = np.array([5, 5, 4, 3, 2, 1.5, 1.5, 1, 0.7, 0.7])
EYES: tuple[RGB, ...] = ((52, 34, 24), (78, 50, 28), (96, 74, 40), (70, 96, 70), (72, 102, 132))
CLOTHES: tuple[RGB, ...] = (
    (226, 222, 214),
    (44, 48, 58),
    (176, 58, 58),
    (58, 92, 140),
    (72, 118, 90),
    (214, 168, 72),
    (150, 110, 150),
    (214, 140, 132),
    (108, 86, 70),
    (120, 158, 172),
)
HAIRCUTS = ("long", "bob", "short", "crop", "bun", "bald")
_CUT_WEIGHTS = np.array([5, 3, 3, 2, 1.5, 0.5])
HATS = ("beanie", "band", "brim")


@dataclass(frozen=True)
class Person:
    """All that makes one person look different from the next; colours 0 to 255."""

    skin: RGB
    hair: RGB
    iris: RGB
    cloth: RGB
    accent: RGB
    lips: RGB
    height: float  # of the head, as a factor
    jaw: float  # exponent of the lower outline: pointed 1.5 to square 2.3
    eye_x: float  # half the distance between the eyes
    eye_width: float
    eye_open: float
    eye_slant: float
    brow_y: float
    brow_thick: float
    brow_arch: float
    nose_width: float
    nose_y: float
    mouth_y: float
    mouth_width: float
    mouth_full: float
    smile: float
    teeth: bool
    blush: float
    freckles: int
    stubble: float
    moustache: bool
    haircut: str
    hair_length: float  # lowest y of the hair
    volume: float  # thickness of the hair
    fringe: float  # y of the hairline over the nose
    parting: float  # where the fringe parts, in radians from the nose
    sides: float  # how far the hair comes forward, in radians from the nose
    hat: str | None
    hat_colour: RGB
    glasses: str | None
    earrings: bool
    collar: str


def _pick(rng: np.random.Generator, items: tuple[RGB, ...], spread: float = 7) -> RGB:
    base = np.array(items[int(rng.integers(len(items)))])
    red, green, blue = np.clip(base + rng.normal(0, spread, 3) + rng.normal(0, spread), 8, 250)
    return float(red), float(green), float(blue)


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def random_person(rng: np.random.Generator) -> Person:
    """A person who depends on nothing but the state of `rng`."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    haircut = HAIRCUTS[int(rng.choice(len(HAIRCUTS), p=_CUT_WEIGHTS / _CUT_WEIGHTS.sum()))]
    bearded = haircut in ("short", "crop", "bald") and _chance(rng, 0.35)
    hair = np.array(HAIRS[int(rng.choice(len(HAIRS), p=_HAIR_WEIGHTS / _HAIR_WEIGHTS.sum()))])
    hair = np.clip(hair + rng.normal(0, 6, 3), 6, 250)
    skin = _pick(rng, SKINS, 4)
    rouge = between(0.2, 0.75)
    lips = np.array(skin) * (1 - rouge) * np.array([0.92, 0.72, 0.70]) + rouge * np.array(
        [186, 62, 76]
    )
    fringed = haircut in ("long", "bob") and _chance(rng, 0.4)
    covered = haircut in ("long", "bob", "bun", "short")
    return Person(
        skin=skin,
        hair=(float(hair[0]), float(hair[1]), float(hair[2])),
        iris=EYES[int(rng.choice(len(EYES), p=[0.4, 0.3, 0.12, 0.08, 0.1]))],
        cloth=_pick(rng, CLOTHES),
        accent=_pick(rng, CLOTHES),
        lips=(float(lips[0]), float(lips[1]), float(lips[2])),
        height=between(0.96, 1.07),
        jaw=between(1.5, 2.3),
        eye_x=between(0.42, 0.46),
        eye_width=between(0.17, 0.205),
        eye_open=between(0.055, 0.095),
        eye_slant=between(-0.02, 0.035),
        brow_y=between(-0.31, -0.23),
        brow_thick=between(0.035, 0.075),
        brow_arch=between(0.02, 0.08),
        nose_width=between(0.15, 0.22),
        nose_y=between(0.54, 0.66),
        mouth_y=between(0.88, 0.98),
        mouth_width=between(0.27, 0.37),
        mouth_full=between(0.055, 0.10),
        smile=between(-0.02, 0.09),
        teeth=_chance(rng, 0.25),
        blush=between(0, 0.35),
        freckles=int(rng.integers(15, 50)) if _chance(rng, 0.12) else int(rng.integers(0, 3)),
        stubble=between(0.25, 0.9) if bearded else 0.0,
        moustache=bearded and _chance(rng, 0.5),
        haircut=haircut,
        hair_length={"long": between(1.9, 3.2), "bob": between(1.0, 1.5)}.get(haircut, 0.25),
        volume={"crop": 0.04, "bald": 0.0}.get(haircut, between(0.09, 0.22)),
        fringe=between(-0.62, -0.45) if fringed else between(-0.98, -0.78),
        parting=between(-0.5, 0.5),
        sides=between(0.95, 1.2) if covered else between(1.2, 1.4),
        hat=HATS[int(rng.integers(len(HATS)))] if _chance(rng, 0.13) else None,
        hat_colour=_pick(rng, CLOTHES),
        glasses=("round", "square")[int(rng.integers(2))] if _chance(rng, 0.2) else None,
        earrings=haircut != "crop" and _chance(rng, 0.25),
        collar=("crew", "v", "shirt", "scoop")[int(rng.integers(4))],
    )


@dataclass(frozen=True)
class Pose:
    """How the head is turned, in radians: `yaw` to the side, `pitch` down, `roll` clockwise."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
