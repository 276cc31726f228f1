"""What the fields of params.yaml's sections may be."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

Condition = Literal["none", "classes", "labels", "prompts"]
"""What is said of an image, and what a generated one is to show."""

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Bits = Annotated[int, Field(ge=0, le=256)]  # of 256 that two images may differ in
NonEmpty = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must be all different")
    return values


_Item = TypeVar("_Item")
# YAML has lists, which strict validation would not take for tuples.
Many = Annotated[tuple[_Item, ...], Field(strict=False)]
Distinct = Annotated[tuple[_Item, ...], Field(strict=False), AfterValidator(all_different)]
Pair = Annotated[tuple[_Item, _Item], Field(strict=False)]


STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
