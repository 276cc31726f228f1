"""Who is drawn: the features of a person, chosen at random.

Lengths are in half widths of the head; y runs down from the line of the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.synthetic.painting import Dice, as_triple, varied
from lockstep.synthetic.primitives import RGB, palette

SKINS = palette("faddc9 f3ceb4 ebc0a0 deae8a cb9872 ad7a56 8c5e41 704a34")
HAIRS = palette("1c181a 281e1b 3e2a20 5c3c28 7c4e2c 964a28 c49c62 a8a4a2 944c6c 42547c")
_HAIR_WEIGHTS = (5, 5, 4, 3, 2, 1.5, 1.5, 1, 0.7, 0.7)
EYES = palette("342218 4e321c 604a28 466046 486684")
CLOTHES = palette("e2ded6 2c303a b03a3a 3a5c8c 48765a d6a848 966e96 d68c84 6c5646 789eac")
HAIRCUTS = ("long", "bob", "short", "crop", "bun", "bald")
_CUT_WEIGHTS = (5, 3, 3, 2, 1.5, 0.5)
HATS = ("beanie", "band", "brim")


class Person:
    """All that makes one person look different from the next, by nothing but the state of `rng`."""

    def __init__(self, rng: np.random.Generator) -> None:
        dice = Dice(rng)
        between, chance, one, weighted = dice.between, dice.chance, dice.one, dice.weighted

        def cloth() -> RGB:
            return varied(rng, one(CLOTHES), 7, 8, 250)

        self.haircut = weighted(HAIRCUTS, _CUT_WEIGHTS)
        bearded = self.haircut in ("short", "crop", "bald") and chance(0.35)
        hair = np.array(weighted(HAIRS, _HAIR_WEIGHTS))
        self.hair = as_triple(np.clip(hair + rng.normal(0, 6, 3), 6, 250))
        self.skin = varied(rng, one(SKINS), 4, 8, 250)
        rouge = between(0.2, 0.75)
        pale = np.array(self.skin) * (1 - rouge) * np.array([0.92, 0.72, 0.70])
        self.lips = as_triple(pale + rouge * np.array([186, 62, 76]))
        fringed = self.haircut in ("long", "bob") and chance(0.4)
        covered = self.haircut in ("long", "bob", "bun", "short")
        self.iris = weighted(EYES, (0.4, 0.3, 0.12, 0.08, 0.1))
        self.cloth = cloth()
        self.accent = cloth()
        self.height = between(0.96, 1.07)  # of the head, as a factor
        self.jaw = between(1.5, 2.3)  # exponent of the lower outline: pointed 1.5 to square 2.3
        self.eye_x = between(0.42, 0.46)  # half the distance between the eyes
        self.eye_width = between(0.17, 0.205)
        self.eye_open = between(0.055, 0.095)
        self.eye_slant = between(-0.02, 0.035)
        self.brow_y = between(-0.31, -0.23)
        self.brow_thick = between(0.035, 0.075)
        self.brow_arch = between(0.02, 0.08)
        self.nose_width = between(0.15, 0.22)
        self.nose_y = between(0.54, 0.66)
        self.mouth_y = between(0.88, 0.98)
        self.mouth_width = between(0.27, 0.37)
        self.mouth_full = between(0.055, 0.10)
        self.smile = between(-0.02, 0.09)
        self.teeth = chance(0.25)
        self.blush = between(0, 0.35)
        self.freckles = int(rng.integers(15, 50)) if chance(0.12) else int(rng.integers(0, 3))
        self.stubble = between(0.25, 0.9) if bearded else 0.0
        self.moustache = bearded and chance(0.5)
        lengths = {"long": between(1.9, 3.2), "bob": between(1.0, 1.5)}
        self.hair_length = lengths.get(self.haircut, 0.25)  # its lowest y
        thin = {"crop": 0.04, "bald": 0.0}
        self.volume = thin.get(self.haircut, between(0.09, 0.22))  # thickness of the hair
        self.fringe = between(-0.62, -0.45) if fringed else between(-0.98, -0.78)  # its y
        self.parting = between(-0.5, 0.5)  # radians from the nose
        self.sides = between(0.95, 1.2) if covered else between(1.2, 1.4)  # radians from the nose
        self.hat = one(HATS) if chance(0.13) else None
        self.hat_colour = cloth()
        self.glasses = one(("round", "square")) if chance(0.2) else None
        self.earrings = self.haircut != "crop" and chance(0.25)
        self.collar = one(("crew", "v", "shirt", "scoop"))


@dataclass(frozen=True)
class Pose:
    """How the head is turned, in radians: `yaw` to the side, `pitch` down, `roll` clockwise."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
