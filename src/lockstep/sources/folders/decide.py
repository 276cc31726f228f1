"""Which files are kept: the rules, then one of each image, the same in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.config.sources import Merged as Settings
from lockstep.sources.folders.read import Measures
from lockstep.sources.perceptual_hash import alike, first_alike

KEPT = "kept"
EXCLUDED = "excluded"
REFUSED, BROKEN = "refused", "broken"
SMALL, ASPECT, BLANK = "small", "aspect", "blank"
COPY, DUPLICATE = "copy", "duplicate"
ORDER = (KEPT, REFUSED, BROKEN, SMALL, ASPECT, BLANK, COPY, DUPLICATE, EXCLUDED)


@dataclass(frozen=True, slots=True)
class Row:
    """A file that was found.

    `rank` is the number of its source. `sha256` is empty if it was not read; `why` says why it was
    not, or is no image.
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


def _broken_rule(image: Measures, rules: Settings) -> str | None:
    """The first rule that an image breaks."""
    short, long = sorted((image.width, image.height))
    if short < rules.min_side:
        return SMALL
    if long > rules.max_aspect * short:
        return ASPECT
    return BLANK if image.contrast < rules.min_contrast else None


def decide(rows: Sequence[Row], rules: Settings) -> list[Decision]:
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
            rule = _broken_rule(row.measures, rules)
            found.append(rule or (COPY if row.sha256 in first else KEPT))
            first.setdefault(row.sha256, i)

    passed = [i for i, what in enumerate(found) if what == KEPT]
    passed.sort(key=lambda i: _largest_first(rows[i], i))
    hashes = [_hash(rows[i]) for i in passed]
    banned = [_hash(row) for row in rows if row.sha256 in excluded and row.measures]
    for i, is_banned in zip(passed, alike(hashes, banned, rules.duplicate_bits), strict=True):
        if is_banned:
            found[i] = EXCLUDED
    passed = [i for i in passed if found[i] == KEPT]
    original: dict[int, int] = {}  # of each duplicate
    repeats = first_alike([_hash(rows[i]) for i in passed], rules.duplicate_bits)
    for i, of in zip(passed, repeats, strict=True):
        if of is not None:
            found[i], original[i] = DUPLICATE, passed[of]

    kept = [i for i, what in enumerate(found) if what == KEPT]
    numbers = {i: number for number, i in enumerate(kept, 1)}
    decisions = []
    for i, what in enumerate(found):
        source = first[rows[i].sha256] if what == COPY else i
        number = numbers.get(original.get(source, source))
        decisions.append(Decision(EXCLUDED if found[source] == EXCLUDED else what, number))
    return decisions


def _hash(row: Row) -> str:
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
