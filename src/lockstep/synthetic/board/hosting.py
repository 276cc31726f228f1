"""Where the replica's images stand, in which form, and what is wrong with some."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

PAGES = "www.ptt.example"
IMGUR = "imgur.example"
MEEE = "i.meee.example"
OTHER = "images.example"

FORMS = ("webp", "avif", "animated", "palette", "cmyk", "grey16", "rotated")
"""How an image may be stored other than as it was drawn: it shows the same."""
FAULTS = ("missing", "removed", "page", "empty", "cut", "noise", "loop", "bomb")
"""Why an address may give no image, now and ever."""

_FORM_SHARE = 0.14
_FAULT_SHARE = 0.08
_DUPLICATE_SHARE = 0.04
_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Hosted:
    """An image at an address.

    Parameters
    ----------
    address
        As a crawl gives it: the one that the ways of writing it all come down to.
    shows
        Number of the image that is drawn there. Some are there at two addresses.
    form
        One of `FORMS`, or None.
    fault
        One of `FAULTS`, or None.
    """

    address: str
    shows: int
    form: str | None
    fault: str | None


def hosted(count: int, seed: int) -> list[Hosted]:
    """`count` addresses; `shows` runs from 0 without a gap, over those without a fault."""
    found: list[Hosted] = []
    sound: list[Hosted] = []
    drawn = 0
    for number in range(count):
        random = Random(f"{seed} hosted {number}")
        address = _address(random, _name(seed, number))
        if random.random() < _FAULT_SHARE:
            # Something has to be there of which the rest is missing.
            one = Hosted(address, 0, None, random.choice(FAULTS))
        elif sound and random.random() < _DUPLICATE_SHARE:
            same = random.choice(sound)
            one = Hosted(address, same.shows, same.form, None)
        else:
            form = random.choice(FORMS) if random.random() < _FORM_SHARE else None
            one = Hosted(address, drawn, form, None)
            sound.append(one)
            drawn += 1
        found.append(one)
    return found


def written(address: str, random: Random, in_push: bool) -> str:
    """One of the ways in which people write an address, and the board makes a link of it."""
    if f"//i.{IMGUR}/" in address:
        name = address.rsplit("/", 1)[1].removesuffix(".jpg")
        text = random.choice(
            (
                *[f"https://i.{IMGUR}/{name}.jpg"] * 4,
                f"http://i.{IMGUR}/{name}.jpg",
                f"https://i.{IMGUR}/{name}.JPG",
                f"https://i.{IMGUR}/{name}.jpg?1",
                f"https://{IMGUR}/{name}",
                f"http://m.{IMGUR}/{name}",
            )
        )
    else:
        text = address
    return text + (random.choice((")", "]")) if in_push and random.random() < 0.2 else "")


def album(random: Random) -> str:
    """The address of a page with several images; there is nothing at it."""
    name = "".join(random.choice(_SIGNS) for _ in range(7))
    return f"https://{IMGUR}/{random.choice(('a', 'gallery'))}/{name}"


def _address(random: Random, name: str) -> str:
    kind = random.random()
    if kind < 0.7:
        return f"https://i.{IMGUR}/{name}.jpg"
    if kind < 0.85:
        return f"https://{MEEE}/{name}.jpg"
    return f"http://{OTHER}/{random.randint(2019, 2023)}/{name}.JPG"


def _name(seed: int, number: int) -> str:
    digest = int.from_bytes(hashlib.sha256(f"{seed} name {number}".encode()).digest())
    signs = []
    for _ in range(7):
        digest, rest = divmod(digest, len(_SIGNS))
        signs.append(_SIGNS[rest])
    return "".join(signs)
