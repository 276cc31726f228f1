"""Which files are kept: the rules, then one of each image, the same in any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lockstep.config.sources import MergeRules
from lockstep.sources.folders.read import Measures
from lockstep.sources.near_copies import alike, first_alike
from lockstep.sources.perceptual_hash import packed

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


class Decisions(Sequence[Decision]):
    """What became of each file, in a few bytes: places in `ORDER`, and numbers or 0."""

    def __init__(self, what: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
        self._what, self._numbers = what, numbers

    def __len__(self) -> int:
        return len(self._what)

    @overload
    def __getitem__(self, i: int) -> Decision: ...
    @overload
    def __getitem__(self, i: slice) -> Decisions: ...
    def __getitem__(self, i: int | slice) -> Decision | Decisions:
        if isinstance(i, slice):
            return Decisions(self._what[i], self._numbers[i])
        return Decision(ORDER[self._what[i]], int(self._numbers[i]) or None)

    def counts(self) -> dict[str, int]:
        """How often each decision was made, `kept` first and then in the order of the rules."""
        counts = np.bincount(self._what, minlength=len(ORDER)).tolist()
        return {name: count for name, count in zip(ORDER, counts, strict=True) if count}


@dataclass(frozen=True)
class _Columns:
    """What decides of N files.

    `sha256` (N,) is empty where there is none; `hashes` (N, 32) and `sides` (N, 2), the shorter one
    first, are of images only; `rule` (N,) is the place in `ORDER` of the rule that a file breaks.
    """

    sha256: NDArray[np.bytes_]
    hashes: NDArray[np.uint8]
    sides: NDArray[np.int64]
    rule: NDArray[np.uint8]
    is_excluded: NDArray[np.bool_]


_AT_ONCE = 2**12
_EXCLUDED, _COPY, _DUPLICATE = map(ORDER.index, (EXCLUDED, COPY, DUPLICATE))
_KEPT, _REFUSED, _BROKEN = map(ORDER.index, (KEPT, REFUSED, BROKEN))


def _columns(rows: Iterable[Row], rules: MergeRules) -> _Columns:
    """The rows, read once and a part at a time."""
    stream = iter(rows)
    parts = [_part([], rules)]
    while part := list(islice(stream, _AT_ONCE)):
        parts.append(_part(part, rules))
    return _Columns(*map(np.concatenate, zip(*parts, strict=True)))


def _part(rows: Sequence[Row], rules: MergeRules) -> tuple[NDArray[Any], ...]:
    """The columns of some rows."""
    images = [row.measures for row in rows]
    sides = [sorted((image.width, image.height)) if image else (0, 0) for image in images]
    return (
        np.array([bytes.fromhex(row.sha256) for row in rows], "S32"),
        packed(image.perceptual_hash if image else "00" * 32 for image in images),
        np.array(sides, np.int64).reshape(-1, 2),
        np.array([ORDER.index(_broken_rule(row, rules)) for row in rows], np.uint8),
        np.array([row.is_excluded for row in rows], np.bool_),
    )


def _broken_rule(row: Row, rules: MergeRules) -> str:
    """The first rule that a file breaks, or `kept`."""
    if row.measures is None:
        return BROKEN if row.sha256 else REFUSED
    short, long = sorted((row.measures.width, row.measures.height))
    if short < rules.min_side:
        return SMALL
    if long > rules.max_aspect * short:
        return ASPECT
    return BLANK if row.measures.contrast < rules.min_contrast else KEPT


def decide(rows: Iterable[Row], rules: MergeRules) -> Decisions:
    """What becomes of each file; the kept ones are numbered from 1 in the order of the rows.

    Of files with the same bytes the first counts, of images that look the same the largest, of
    equally large ones the first. What looks like an excluded image is excluded as well: a copy
    must not take its place.
    """
    of = _columns(rows, rules)
    found, places = of.rule.copy(), np.arange(len(of.rule))
    is_image = (of.rule != _BROKEN) & (of.rule != _REFUSED)
    named = of.sha256[of.is_excluded]
    excluded = of.is_excluded | np.isin(of.sha256, named[named != b""])
    found[excluded] = _EXCLUDED

    # Of each file the first one with its bytes.
    first = places.copy()
    usable = np.flatnonzero(is_image & ~excluded)
    _, once, same = np.unique(of.sha256[usable], return_index=True, return_inverse=True)
    first[usable] = usable[once[same]]
    found[(found == _KEPT) & (first < places)] = _COPY

    passed = np.flatnonzero(found == _KEPT)
    short, long = of.sides[passed].T
    passed = passed[np.lexsort((-long, -short))]  # the largest first, else in their order
    is_banned = alike(of.hashes[passed], of.hashes[excluded & is_image], rules.duplicate_bits)
    found[passed[is_banned]] = _EXCLUDED
    passed = passed[~is_banned]
    # Of each file the one that is kept instead.
    original = places.copy()
    repeated = first_alike(of.hashes[passed], rules.duplicate_bits)
    repeats = repeated >= 0
    original[passed[repeats]] = passed[repeated[repeats]]
    found[passed[repeats]] = _DUPLICATE

    kept = np.flatnonzero(found == _KEPT)
    numbers = np.zeros(len(found), np.int64)
    numbers[kept] = 1 + np.arange(len(kept))
    source = np.where(found == _COPY, first, places)
    found[found[source] == _EXCLUDED] = _EXCLUDED
    return Decisions(found, numbers[original[source]])
