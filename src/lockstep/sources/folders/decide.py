"""Which files are kept: the rules, then one of each image, the same in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.sources.folders.read import Measures
from lockstep.sources.perceptual_hash import alike, first_alike

KEPT = "kept"
EXCLUDED = "excluded"
REFUSED, BROKEN = "refused", "broken"
SMALL, ASPECT, BLANK = "small", "aspect", "blank"
COPY, DUPLICATE = "copy", "duplicate"
ORDER = (KEPT, REFUSED, BROKEN, SMALL, ASPECT, BLANK, COPY, DUPLICATE, EXCLUDED)


@dataclass(frozen=True)
class Rules:
    """What an image must be to be kept; see `lockstep.config.schema.Merged`."""

    min_side: int
    max_aspect: float
    min_contrast: float
    duplicate_bits: int


@dataclass(frozen=True, slots=True)
class Row:
    """A file that was found.

    Parameters
    ----------
    source, path
        Where; `rank` is the number of the source.
    sha256
        Of the file; empty if it was not read.
    why
        Why it was not read, or is no image.
    """

    rank: int
    source: str
    path: str
    sha256: str
    measures: Measures | None
    why: str
    is_excluded: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """`what` became of a file, and its `number` if it is kept; of a copy that of the original."""

    what: str
    number: int | None = None


def broken_rule(image: Measures, rules: Rules) -> str | None:
    """The first rule that an image breaks."""
    short, long = sorted((image.width, image.height))
    if short < rules.min_side:
        return SMALL
    if long > rules.max_aspect * short:
        return ASPECT
    return BLANK if image.contrast < rules.min_contrast else None


def decide(rows: Sequence[Row], rules: Rules) -> list[Decision]:
    """What becomes of each file; the kept ones are numbered from 1 in the order of the rows.

    Of files with the same bytes the first counts, of images that look the same the largest, of
    equally large ones the first. What looks like an excluded image is excluded as well: a copy
    must not take its place.
    """
    excluded = {row.sha256 for row in rows if row.is_excluded and row.sha256}
    found: list[str] = []
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row.is_excluded or row.sha256 in excluded:
            found.append(EXCLUDED)
        elif row.measures is None:
            found.append(BROKEN if row.sha256 else REFUSED)
        else:
            rule = broken_rule(row.measures, rules)
            found.append(rule or (COPY if row.sha256 in first else KEPT))
            first.setdefault(row.sha256, i)

    passed = [i for i, what in enumerate(found) if what == KEPT]
    passed.sort(key=lambda i: _largest_first(rows[i], i))
    looks = [_looks(rows[i]) for i in passed]
    banned = [_looks(row) for row in rows if row.sha256 in excluded and row.measures]
    for i, is_banned in zip(passed, alike(looks, banned, rules.duplicate_bits), strict=True):
        if is_banned:
            found[i] = EXCLUDED
    passed = [i for i in passed if found[i] == KEPT]
    repeats = first_alike([_looks(rows[i]) for i in passed], rules.duplicate_bits)
    original = {
        i: None if of is None else passed[of] for i, of in zip(passed, repeats, strict=True)
    }
    for i, of in original.items():
        if of is not None:
            found[i] = DUPLICATE

    numbers: dict[int, int] = {}
    for i, what in enumerate(found):
        if what == KEPT:
            numbers[i] = len(numbers) + 1
    decisions = []
    for i, what in enumerate(found):
        source = i
        if what == COPY:
            source = first[rows[i].sha256]
            if found[source] == EXCLUDED:
                what = EXCLUDED
        of = original.get(source)
        decisions.append(Decision(what, numbers.get(source if of is None else of)))
    return decisions


def _looks(row: Row) -> str:
    assert row.measures is not None
    return row.measures.perceptual_hash


def _largest_first(row: Row, i: int) -> tuple[int, int, int]:
    assert row.measures is not None
    sides = row.measures.width, row.measures.height
    return -min(sides), -max(sides), i


def counts(decisions: Iterable[Decision]) -> dict[str, int]:
    """How often each decision was made, `kept` first and then in the order of the rules."""
    found = [decision.what for decision in decisions]
    return {name: found.count(name) for name in ORDER if name in found}
