"""What became of images and faces on the way into a set, counted, in words that a reader knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lockstep.core.files import csv_rows, damage_named
from lockstep.sources.listing import MANIFEST, read_lines

DECISIONS = "decisions.csv"
"""Beside a collected set whose source leaves something out: what was decided on each."""
FAILED = "failed.txt"
KEPT, FETCHED = "kept", "fetched"

_FACES = "faces, and files without one"
DECIDED = {"ptt": _FACES, "photos": _FACES, "addresses": "files", "folder": "files"}
"""What is decided about, by the type of the source."""

_OF_FILES = {
    "refused": "a link, no file, encrypted, damaged in its archive, or larger than allowed",
    "broken": "no image, damaged, of a format that is not read, or of too many pixels",
}
_OF_FACES = {
    "small": "narrower than source.min_box",
    "tilted": "the eyes' line is steeper than source.max_slope",
    "turned": "the nose is not between the eyes (source.nose)",
    "eyes": "the eyes are too near or too far apart (source.eye_ratio)",
    "cut": "too much lies outside the image (source.max_outside)",
    "blurred": "less sharp than source.min_sharpness",
    "covered": "the nose has another colour than the skin above it (source.max_cover)",
    "tinted": "the face's hue is not skin's (source.max_tint)",
    "unsure": "the detector is less sure than source.min_score",
    "duplicate": "another copy of a face that was kept",
    "faceless": "an image in which no face was found",
    "excluded": "named in exclude.txt",
}
_OF_MERGES = {
    **_OF_FILES,
    "small": "a side shorter than source.min_side",
    "aspect": "longer or higher than source.max_aspect allows",
    "blank": "less contrast than source.min_contrast",
    "copy": "the same bytes as a file that was kept",
    "duplicate": "looks like an image that was kept",
    "excluded": "named in exclude.txt",
}
_MEANINGS = {
    "ptt": _OF_FACES,
    "photos": {**_OF_FACES, **_OF_FILES, "copy": "the same bytes as a file before it"},
    "addresses": _OF_MERGES,
    "folder": _OF_MERGES,
}


@dataclass(frozen=True)
class Count:
    """How many of something, and their share of all."""

    name: str
    meaning: str
    count: int
    share: float


def decided(collected: Path, kind: str) -> tuple[Count, ...]:
    """Each decision on what a source of this type found; nothing where none was made.

    Raises `LockstepError` if the table is damaged.
    """
    path, decisions = collected / DECISIONS, Counter[str]()
    if path.exists():
        with damage_named(path):
            decisions.update(str(row["decision"]) for row in csv_rows(path))
    return _counts(decisions, KEPT, _MEANINGS.get(kind, {}))


def fetched(downloaded: Path) -> tuple[Count, ...]:
    """What each address gave that was asked for; nothing where none was.

    Raises `LockstepError` if a file is damaged.
    """
    manifest, failed = downloaded / MANIFEST, downloaded / FAILED
    outcomes = Counter[str]()
    with damage_named(manifest):
        outcomes[FETCHED] = sum(1 for _ in read_lines(manifest)) if manifest.exists() else 0
    if failed.exists():
        with damage_named(failed), failed.open(encoding="utf-8") as file:
            # Address, tab, reason.
            outcomes.update(line.rstrip("\n").rpartition("\t")[2] for line in file)
    return _counts(outcomes, FETCHED, {})


def _counts(counted: Counter[str], first: str, meanings: Mapping[str, str]) -> tuple[Count, ...]:
    """The good outcome first, then the most frequent; equally frequent ones by name."""
    total = counted.total()
    ordered = sorted((+counted).items(), key=lambda item: (item[0] != first, -item[1], item[0]))
    return tuple(Count(name, meanings.get(name, ""), n, n / total) for name, n in ordered)
