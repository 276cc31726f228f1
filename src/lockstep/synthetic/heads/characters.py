"""Who is drawn: hair, eyes, expression and clothes, chosen at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.synthetic.heads.pen import RGB

SKINS: tuple[RGB, ...] = (
    (255, 232, 217),
    (255, 224, 204),
    (252, 214, 190),
    (240, 194, 162),
    (212, 158, 122),
    (160, 110, 82),
)
_SKIN_WEIGHTS = (4, 4, 3, 1.5, 0.8, 0.6)
HAIRS: tuple[RGB, ...] = (
    (52, 46, 58),
    (92, 62, 50),
    (140, 92, 58),
    (190, 132, 74),
    (244, 212, 122),
    (250, 236, 190),
    (222, 226, 236),
    (168, 176, 196),
    (244, 158, 190),
    (206, 84, 110),
    (196, 58, 52),
    (240, 134, 62),
    (86, 132, 214),
    (130, 190, 236),
    (94, 196, 190),
    (106, 176, 106),
    (150, 108, 200),
    (198, 166, 230),
)
EYES: tuple[RGB, ...] = (
    (58, 118, 214),
    (66, 176, 216),
    (58, 168, 96),
    (206, 60, 62),
    (150, 86, 204),
    (222, 158, 42),
    (134, 84, 50),
    (232, 98, 160),
    (96, 102, 122),
)
CLOTHES: tuple[RGB, ...] = (
    (248, 248, 250),
    (46, 52, 82),
    (200, 62, 70),
    (62, 104, 182),
    (70, 146, 112),
    (240, 196, 90),
    (236, 158, 180),
    (150, 112, 184),
    (72, 72, 78),
    (238, 226, 206),
    (110, 190, 210),
)
BACKS = ("short", "bob", "long", "spikes", "twin tails", "drills", "ponytail", "buns", "braids")
_BACK_WEIGHTS = (3, 4, 6, 2.5, 4, 1.5, 2.5, 2, 1.5)
FRINGES = ("straight", "parted", "swept", "spiky", "middle", "curtain")
EYELIDS = ("open", "happy", "wink", "sleepy", "cross", "wide", "sad")
_EYELID_WEIGHTS = (9, 1.2, 0.8, 1.3, 1.4, 1, 1)
MOUTHS = ("line", "smile", "grin", "laugh", "round", "frown", "cat", "fang", "pout")
WORN = (
    "none",
    "ribbon",
    "two ribbons",
    "cat ears",
    "cap",
    "beret",
    "witch hat",
    "band",
    "headphones",
    "flower",
    "hairpin",
    "horns",
    "halo",
)
_WORN_WEIGHTS = (8, 2, 1.4, 2, 0.9, 1, 0.9, 1.6, 1, 1, 1.6, 0.6, 0.4)
COLLARS = ("sailor", "shirt", "turtleneck", "hoodie", "dress", "jacket", "kimono")


@dataclass(frozen=True)
class Head:
    """All that makes one head look different from the next.

    Colours are 0 to 255, lengths half widths of the head, angles in radians.
    """

    skin: RGB
    hair: RGB
    tips: RGB  # of the hair, often its own colour
    irises: tuple[RGB, RGB]
    cloth: RGB
    trim: RGB
    accent: RGB
    back: str
    length: float  # 0 to 1, of the hair at the back
    volume: float  # of the hair around the head
    fringe: str
    fringe_low: float  # y of the fringe's tips
    parting: float
    locks: int
    sides: float  # y of the tips of the locks beside the face; 0: none
    ahoge: bool
    eyelids: str
    eye_height: float
    eye_width: float
    eye_apart: float
    eye_y: float
    eye_tilt: float
    pupil: str
    look: tuple[float, float]
    brow_tilt: float
    mouth: str
    mouth_width: float
    blush: float
    chin: float
    jaw: float
    nose: bool
    worn: str
    glasses: str | None
    mark: str | None
    collar: str
    turn: float  # how far the face looks to the side, -1 to 1
    lean: float
    zoom: float
    shift: tuple[float, float]
    jitter: tuple[float, ...]  # -1 to 1: for the locks of the hair


def _pick(rng: np.random.Generator, items: tuple[RGB, ...], spread: float) -> RGB:
    base = np.array(items[int(rng.integers(len(items)))])
    return varied(rng, base, spread)


def varied(rng: np.random.Generator, colour: object, spread: float) -> RGB:
    """A colour near another one."""
    base = np.asarray(colour, np.float64)
    red, green, blue = np.clip(base + rng.normal(0, spread, 3) + rng.normal(0, spread), 6, 255)
    return float(red), float(green), float(blue)


def _weighted(rng: np.random.Generator, names: tuple[str, ...], weights: tuple[float, ...]) -> str:
    shares = np.cumsum(weights)
    return names[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]


def random_head(rng: np.random.Generator) -> Head:
    """A head that depends on nothing but the state of `rng`."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    def one(names: tuple[str, ...]) -> str:
        return names[int(rng.integers(len(names)))]

    skins = np.cumsum(_SKIN_WEIGHTS)
    skin = SKINS[int(np.searchsorted(skins, rng.random() * skins[-1], side="right"))]
    hair = _pick(rng, HAIRS, 9)
    iris = _pick(rng, EYES, 10)
    eyelids = _weighted(rng, EYELIDS, _EYELID_WEIGHTS)
    return Head(
        skin=varied(rng, skin, 3),
        hair=hair,
        tips=_pick(rng, HAIRS, 9) if chance(0.12) else hair,
        irises=(iris, _pick(rng, EYES, 10) if chance(0.05) else iris),
        cloth=_pick(rng, CLOTHES, 8),
        trim=_pick(rng, CLOTHES, 8),
        accent=_pick(rng, CLOTHES, 10),
        back=_weighted(rng, BACKS, _BACK_WEIGHTS),
        length=between(0, 1),
        volume=between(0.1, 0.28),
        fringe=one(FRINGES),
        fringe_low=between(-0.08, 0.2),
        parting=between(-0.5, 0.5),
        locks=int(rng.integers(4, 8)),
        sides=between(0.75, 1.6) if chance(0.75) else 0.0,
        ahoge=chance(0.25),
        eyelids=eyelids,
        eye_height=between(0.25, 0.38),
        eye_width=between(0.2, 0.27),
        eye_apart=between(0.41, 0.47),
        eye_y=between(0.26, 0.36),
        eye_tilt=between(-0.12, 0.14),
        pupil="slit" if chance(0.1) else ("ring" if chance(0.15) else "round"),
        look=(between(-0.05, 0.05), between(-0.03, 0.03)),
        brow_tilt={"cross": 0.32, "sad": -0.3}.get(eyelids, between(-0.15, 0.15)),
        mouth=one(MOUTHS),
        mouth_width=between(0.13, 0.24),
        blush=between(0.35, 0.9) if chance(0.5) else 0.0,
        chin=between(1.0, 1.14),
        jaw=between(0.54, 0.68),
        nose=chance(0.7),
        worn=_weighted(rng, WORN, _WORN_WEIGHTS),
        glasses=("round", "square")[int(rng.integers(2))] if chance(0.12) else None,
        mark=one(("mole", "plaster", "freckles", "scar")) if chance(0.12) else None,
        collar=one(COLLARS),
        turn=between(-1, 1),
        lean=float(np.clip(rng.normal(0, 0.1), -0.26, 0.26)),
        zoom=between(0.92, 1.2),
        shift=(between(-0.1, 0.1), between(-0.06, 0.1)),
        jitter=tuple(float(x) for x in rng.uniform(-1, 1, 24)),
    )
