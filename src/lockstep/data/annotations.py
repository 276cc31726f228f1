"""`annotations.json`: what images really show, and what sentences really say, where that is known.

It stands beside rendered captions only: `train` has the objects of each image with their places,
`test` has for each id what its prompt states. No generator reads it; an evaluator learns from the
one and scores by the other.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from lockstep.core.errors import LockstepError, without_kind
from lockstep.data.clevr import COLOURS, SHAPES, object_id

ANNOTATIONS = "annotations.json"

Size = Literal["large", "small"]
Side = Literal["left of", "right of", "in front of", "behind"]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=rf"^({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})$")]
Index = Annotated[int, Field(ge=0)]

# Along which axis of the image (0: to the right, 1: downwards), and in which direction.
_SIDES: dict[Side, tuple[int, int]] = {
    "left of": (0, -1),
    "right of": (0, 1),
    "in front of": (1, 1),
    "behind": (1, -1),
}
SIDES = tuple(_SIDES)

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class ImageObject:
    """An object of an image, its centre at (x, y), 0 to 1 from the left and from the top."""

    name: Name
    size: Size
    x: Share
    y: Share


@dataclass(frozen=True, config=_STRICT)
class PromptObject:
    """An object of a sentence; `size` is None where the sentence does not say it."""

    name: Name
    size: Size | None


@dataclass(frozen=True, config=_STRICT)
class Relation:
    """Object number `first` of a sentence is `kind` (such as ``left of``) number `second`."""

    kind: Side
    first: Index
    second: Index


@dataclass(frozen=True, config=_STRICT)
class PromptContent:
    """What a sentence states: its objects are there, and no others; one may relate to another."""

    objects: Annotated[tuple[PromptObject, ...], Field(min_length=1)]
    relation: Relation | None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_distinct(self.objects)
        if self.relation is not None:
            first, second = self.relation.first, self.relation.second
            if first == second:
                raise ValueError("relation: an object cannot relate to itself")
            if max(first, second) >= len(self.objects):
                raise ValueError("relation: first and second must be places in objects")
        return self


@dataclass(frozen=True, config=_STRICT)
class Annotations:
    """File names with what the images show, ids with what the prompts state."""

    train: dict[str, tuple[ImageObject, ...]]
    test: dict[str, PromptContent]

    @model_validator(mode="after")
    def _no_object_twice(self) -> Self:
        for name, row in self.train.items():
            try:
                _check_distinct(row)
            except ValueError as error:
                raise ValueError(f"train: {name}: {error}") from None
        return self


class Arrays(NamedTuple):
    """What N images show, a column for each `lockstep.data.clevr.object_id`."""

    present: NDArray[np.uint8]  # (N, 24) of zeros and ones
    place: NDArray[np.float32]  # (N, 24, 2), x and y of the centre, 0 to 1; 0 without the object
    large: NDArray[np.uint8]  # (N, 24), 1 for a large object, 0 for a small one or none


def as_arrays(rows: Sequence[Iterable[ImageObject]]) -> Arrays:
    """What images show, such as some of `Annotations.train`'s values, as arrays in their order."""
    shape = (len(rows), len(SHAPES) * len(COLOURS))
    present, large = np.zeros((2, *shape), np.uint8)
    place = np.zeros((*shape, 2), np.float32)
    for number, row in enumerate(rows):
        for one in row:
            at = number, number_of(one.name)
            present[at] = 1
            place[at] = one.x, one.y
            large[at] = one.size == "large"
    return Arrays(present, place, large)


def number_of(name: str) -> int:
    """The id, 0 to 23, of a name such as ``red cube``. Raises ValueError if there is none."""
    colour, _, shape = name.partition(" ")
    return object_id(shape, colour)


def lead(kind: Side, first: tuple[float, float], second: tuple[float, float]) -> float:
    """How far `first` is on the side `kind` of `second`, as a fraction of the image's side.

    Both are (x, y) from the left and from the top. In front means lower in the image: all
    objects stand on one floor. Negative where the opposite holds.
    """
    axis, direction = _SIDES[kind]
    return direction * (first[axis] - second[axis])


def write_annotations(folder: Path, annotations: Annotations) -> None:
    """Write `annotations.json`."""
    (folder / ANNOTATIONS).write_text(json.dumps(dataclasses.asdict(annotations)) + "\n", "utf-8")


def read_annotations(folder: Path) -> Annotations | None:
    """`annotations.json`, or None where there is none. Raises `LockstepError` if it is wrong."""
    path = folder / ANNOTATIONS
    if not path.exists():
        return None
    try:
        return _FORM.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise LockstepError(
            f"{path}: {where}{without_kind(first)}; mend it, or remove the file: it is optional"
        ) from None


def _check_distinct(objects: Sequence[ImageObject | PromptObject]) -> None:
    names = [one.name for one in objects]
    if len(set(names)) < len(names):
        raise ValueError("names an object twice")


_FORM = TypeAdapter(Annotations)
