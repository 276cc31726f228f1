"""Which faces are kept: the rules, then one of each photograph, the same in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.config.sources import Faces
from lockstep.sources.faces.detect import Measures
from lockstep.sources.near_copies import alike, first_alike
from lockstep.sources.perceptual_hash import packed

KEPT = "kept"
EXCLUDED = "excluded"
DUPLICATE = "duplicate"
FACELESS = "faceless"
COPY = "copy"  # of a file
RULES = (
    *("small", "tilted", "turned", "eyes", "cut", "blurred"),
    *("covered", "tinted", "unsure"),
)
"""The rules in their order; the first that is broken is the reason."""


@dataclass(frozen=True)
class Candidate:
    """A face of the image `sha256`, number `number` of it from the left."""

    sha256: str
    number: int
    measures: Measures
    is_excluded: bool = False


def broken_rule(face: Measures, rules: Faces) -> str | None:
    """The first rule that a face breaks."""
    broken = (
        face.width < rules.min_box,
        face.slope > rules.max_slope,
        not rules.nose[0] <= face.nose <= rules.nose[1],
        not rules.eye_ratio[0] <= face.eye_ratio <= rules.eye_ratio[1],
        face.outside > rules.max_outside,
        face.sharpness < rules.min_sharpness,
        face.cover > rules.max_cover,
        face.tint > rules.max_tint,
        face.score < rules.min_score,
    )
    return next((rule for rule, is_broken in zip(RULES, broken, strict=True) if is_broken), None)


def decide(faces: Sequence[Candidate], rules: Faces) -> list[str]:
    """For each face `kept`, the rule it breaks, `duplicate` or `excluded`.

    Of the faces that look the same the largest is kept, of equally large ones the sharpest. What
    looks like an excluded face is excluded as well: a copy must not take its place.
    """
    decisions = [
        EXCLUDED if face.is_excluded else broken_rule(face.measures, rules) for face in faces
    ]
    passed = [i for i, decision in enumerate(decisions) if decision is None]
    passed.sort(key=lambda i: _best_first(faces[i]))
    hashes = packed(face.measures.perceptual_hash for face in faces)
    banned = [i for i, face in enumerate(faces) if face.is_excluded]
    near = alike(hashes[passed], hashes[banned], rules.duplicate_bits)
    for i, is_banned in zip(passed, near, strict=True):
        if is_banned:
            decisions[i] = EXCLUDED
    left = [i for i in passed if decisions[i] is None]
    repeats = first_alike(hashes[left], rules.duplicate_bits)
    for i, of in zip(left, repeats, strict=True):
        decisions[i] = KEPT if of < 0 else DUPLICATE
    return [str(decision) for decision in decisions]


def _best_first(face: Candidate) -> tuple[float, float, str, int]:
    return -face.measures.width, -face.measures.sharpness, face.sha256, face.number


def reasons(decisions: Iterable[str]) -> list[str]:
    """The different decisions, `kept` first and then in the order of the rules."""
    found = set(decisions)
    return [name for name in (KEPT, *RULES, DUPLICATE, EXCLUDED) if name in found]
