"""Who is drawn: hair, eyes, expression and clothes, chosen at random."""

from __future__ import annotations

import numpy as np

from lockstep.synthetic.painting import Dice, pick, varied
from lockstep.synthetic.primitives import palette

SKINS = palette("ffe8d9 ffe0cc fcd6be f0c2a2 d49e7a a06e52")
_SKIN_WEIGHTS = (4, 4, 3, 1.5, 0.8, 0.6)
HAIRS = palette(
    "342e3a 5c3e32 8c5c3a be844a f4d47a faecbe dee2ec a8b0c4 f49ebe ce546e c43a34 f0863e "
    "5684d6 82beec 5ec4be 6ab06a 966cc8 c6a6e6"
)
EYES = palette("3a76d6 42b0d8 3aa860 ce3c3e 9656cc de9e2a 865432 e862a0 60667a")
CLOTHES = palette("f8f8fa 2e3452 c83e46 3e68b6 469270 f0c45a ec9eb4 9670b8 48484e eee2ce 6ebed2")
BACKS = ("short", "bob", "long", "spikes", "twin tails", "drills", "ponytail", "buns", "braids")
_BACK_WEIGHTS = (3, 4, 6, 2.5, 4, 1.5, 2.5, 2, 1.5)
FRINGES = ("straight", "parted", "swept", "spiky", "middle", "curtain")
EYELIDS = ("open", "happy", "wink", "sleepy", "cross", "wide", "sad")
_EYELID_WEIGHTS = (9, 1.2, 0.8, 1.3, 1.4, 1, 1)
MOUTHS = ("line", "smile", "grin", "laugh", "round", "frown", "cat", "fang", "pout")
_HATS = ("cat ears", "cap", "beret", "witch hat", "band", "headphones")
WORN = ("none", "ribbon", "two ribbons", *_HATS, "flower", "hairpin", "horns", "halo")
_WORN_WEIGHTS = (8, 2, 1.4, 2, 0.9, 1, 0.9, 1.6, 1, 1, 1.6, 0.6, 0.4)
COLLARS = ("sailor", "shirt", "turtleneck", "hoodie", "dress", "jacket", "kimono")


class Head:
    """All that makes one head look different from the next, by nothing but the state of `rng`.

    Colours are 0 to 255, lengths half widths of the head, angles in radians.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        dice = Dice(rng)
        between, chance, one, weighted = dice.between, dice.chance, dice.one, dice.weighted
        skin = weighted(SKINS, _SKIN_WEIGHTS)
        self.hair = pick(rng, HAIRS, 9)
        iris = pick(rng, EYES, 10)
        self.eyelids = weighted(EYELIDS, _EYELID_WEIGHTS)
        self.skin = varied(rng, skin, 3)
        self.tips = pick(rng, HAIRS, 9) if chance(0.12) else self.hair
        self.irises = (iris, pick(rng, EYES, 10) if chance(0.05) else iris)
        self.cloth = pick(rng, CLOTHES, 8)
        self.trim = pick(rng, CLOTHES, 8)
        self.accent = pick(rng, CLOTHES, 10)
        self.back = weighted(BACKS, _BACK_WEIGHTS)
        self.length = between(0, 1)  # 0 to 1, of the hair at the back
        self.volume = between(0.1, 0.28)  # of the hair around the head
        self.fringe = one(FRINGES)
        self.fringe_low = between(-0.08, 0.2)  # y of the fringe's tips
        self.parting = between(-0.5, 0.5)
        self.locks = int(rng.integers(4, 8))
        self.sides = between(0.75, 1.6) if chance(0.75) else 0.0  # y of the tips; 0: none
        self.ahoge = chance(0.25)
        self.eye_height = between(0.25, 0.38)
        self.eye_width = between(0.2, 0.27)
        self.eye_apart = between(0.41, 0.47)
        self.eye_y = between(0.26, 0.36)
        self.eye_tilt = between(-0.12, 0.14)
        self.pupil = "slit" if chance(0.1) else ("ring" if chance(0.15) else "round")
        self.look = (between(-0.05, 0.05), between(-0.03, 0.03))
        self.brow_tilt = {"cross": 0.32, "sad": -0.3}.get(self.eyelids, between(-0.15, 0.15))
        self.mouth = one(MOUTHS)
        self.mouth_width = between(0.13, 0.24)
        self.blush = between(0.35, 0.9) if chance(0.5) else 0.0
        self.chin = between(1.0, 1.14)
        self.jaw = between(0.54, 0.68)
        self.nose = chance(0.7)
        self.worn = weighted(WORN, _WORN_WEIGHTS)
        self.glasses = one(("round", "square")) if chance(0.12) else None
        self.mark = one(("mole", "plaster", "freckles", "scar")) if chance(0.12) else None
        self.collar = one(COLLARS)
        self.turn = between(-1, 1)  # how far the face looks to the side, -1 to 1
        self.lean = float(np.clip(rng.normal(0, 0.1), -0.26, 0.26))
        self.zoom = between(0.92, 1.2)
        self.shift = (between(-0.1, 0.1), between(-0.06, 0.1))
        self.jitter = tuple(float(x) for x in rng.uniform(-1, 1, 24))  # of the locks
