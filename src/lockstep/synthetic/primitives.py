"""Boxes and colours, for rendered scenes as for drawn images."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Triple: TypeAlias = tuple[float, float, float]
RGB: TypeAlias = Triple
"""A colour, 0 to 255."""


class Box(NamedTuple):
    """An upright rectangle of an image."""

    left: float
    top: float
    right: float
    bottom: float


def palette(codes: str) -> tuple[RGB, ...]:
    """Colours from hexadecimal codes such as ``fafafc f4e2d6``."""
    return tuple((red, green, blue) for red, green, blue in map(bytes.fromhex, codes.split()))
