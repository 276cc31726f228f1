"""The objects of i-CLEVR: three shapes in eight colours, numbered as its `objects.json` does."""

from __future__ import annotations

from collections.abc import Collection

SHAPES = ("cube", "sphere", "cylinder")
COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")


def object_id(shape: str, colour: str) -> int:
    """Return the number of a (shape, colour) pair: shape index * 8 + colour index.

    Raises `ValueError` if either name is unknown.
    """
    check_known("shape", shape, SHAPES)
    check_known("colour", colour, COLOURS)
    return SHAPES.index(shape) * len(COLOURS) + COLOURS.index(colour)


def check_known(kind: str, value: str, known: Collection[str]) -> None:
    """Raise `ValueError` if `value` is none of the `known` names of this kind."""
    if value not in known:
        raise ValueError(f"unknown {kind} {value!r}; give one of {', '.join(known)}")
