"""A workload's `source`: where its images come from, and which of them are kept."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from lockstep.config.fields import (
    STRICT,
    Bits,
    Condition,
    Count,
    Many,
    NonEmpty,
    NonNegative,
    Pair,
    Positive,
    PositiveFloat,
    Sha256,
    Share,
    all_different,
)

SYNTHETIC = "synthetic"
"""Stands in `source.paths` of a merge for both archives of heads that the project draws."""


@dataclass(frozen=True, config=STRICT)
class Rendered:
    """Scenes that the ray-caster draws: i-CLEVR's with labels, or one a sentence.

    With labels each of `count` scenes gives three images (of its first object, its first two, and
    all three), with prompts one.
    """

    type: Literal["rendered"]
    count: Annotated[int, Field(ge=32)]  # test.json alone wants 32 scenes
    size: Positive
    seed: Count
    supersample: Annotated[int, Field(ge=1, le=8)]


@dataclass(frozen=True, config=STRICT)
class Folder:
    """A folder of images with files that say what they show.

    `sha256` is what `lockstep.core.hashing.sha256` gives for each path.
    """

    type: Literal["folder"]
    paths: Annotated[Many[NonEmpty], Field(min_length=1, max_length=1)]
    sha256: Many[Sha256]
    size: Positive


@dataclass(frozen=True, config=STRICT)
class Merged:
    """Folders and archives of images, merged, and which of their images are kept.

    A path is that of a folder, zip or tar, or `synthetic` for the two archives of drawn heads.
    `sha256` is empty, or has what `lockstep.core.hashing.sha256` gives for each path (null for
    `synthetic`).
    """

    type: Literal["folder"]
    paths: Annotated[Many[NonEmpty], Field(min_length=1), AfterValidator(all_different)]
    sha256: Many[Sha256 | None]
    size: Positive
    min_side: Positive
    max_aspect: Annotated[float, Field(ge=1)]
    min_contrast: NonNegative
    duplicate_bits: Bits
    synthetic_count: Positive | None = None  # different heads in the archives of `synthetic`
    synthetic_seed: Count | None = None


@dataclass(frozen=True, config=STRICT)
class Faces:
    """How faces are found in images, and which are kept; lengths in pixels."""

    type: str
    detector: Literal["hog", "cnn", "mtcnn"]
    megapixels: PositiveFloat | None
    size: Annotated[int, Field(gt=0, le=256)]  # faces are cut out at 256 and reduced
    min_box: NonNegative
    max_slope: NonNegative
    eye_ratio: Pair[NonNegative]
    nose: Pair[float]
    max_outside: Share
    min_sharpness: NonNegative
    max_cover: NonNegative
    max_tint: Annotated[float, Field(ge=0, le=180)]
    min_score: float
    duplicate_bits: Bits


@dataclass(frozen=True, config=STRICT)
class Ptt(Faces):
    """Faces of a board's images."""

    type: Literal["ptt"]


@dataclass(frozen=True, config=STRICT)
class Photos(Faces):
    """Faces of one's own photographs, in folders and archives.

    `sha256` is empty, or has what `lockstep.core.hashing.sha256` gives for each path.
    """

    type: Literal["photos"]
    paths: Annotated[Many[NonEmpty], Field(min_length=1), AfterValidator(all_different)]
    sha256: Many[Sha256]


@dataclass(frozen=True, config=STRICT)
class Addresses:
    """Images at the addresses in `crawl.table`, merged, and which of them are kept."""

    type: Literal["addresses"]
    size: Positive
    min_side: Positive
    max_aspect: Annotated[float, Field(ge=1)]
    min_contrast: NonNegative
    duplicate_bits: Bits


@dataclass(frozen=True, config=STRICT)
class AddressedCaptions:
    """Images at the addresses in `crawl.table`, each with the sentence beside its address."""

    type: Literal["addresses"]
    size: Positive


MergeRules = Merged | Addresses
Excluding = MergeRules | AddressedCaptions | Faces
"""Of which `exclude.txt` can take images out."""
Source = Rendered | Folder | Merged | Addresses | AddressedCaptions | Ptt | Photos

SOURCES: dict[tuple[str, Condition], type] = {
    ("rendered", "labels"): Rendered,
    ("rendered", "prompts"): Rendered,
    ("folder", "none"): Merged,
    ("folder", "classes"): Merged,
    ("folder", "labels"): Folder,
    ("folder", "prompts"): Folder,
    ("addresses", "none"): Addresses,
    ("addresses", "prompts"): AddressedCaptions,
    ("ptt", "none"): Ptt,
    ("photos", "none"): Photos,
}
"""What a workload's `source` may say, by its type and the workload's condition."""
