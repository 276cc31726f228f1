"""Decisions on merged files, made from columns, are those of a person who goes row by row."""

from __future__ import annotations

import dataclasses
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.sources.folders.decide import (
    ASPECT,
    BLANK,
    BROKEN,
    COPY,
    DUPLICATE,
    EXCLUDED,
    KEPT,
    ORDER,
    REFUSED,
    SMALL,
    Decision,
    Row,
    decide,
)
from lockstep.sources.folders.read import Measures
from test_merge import RULES


def apart(one: Row, other: Row) -> int:
    assert one.measures is not None and other.measures is not None
    hashes = (int(row.measures.perceptual_hash, 16) for row in (one, other) if row.measures)
    return (next(hashes) ^ next(hashes)).bit_count()


def rule_of(row: Row) -> str:
    if row.measures is None:
        return BROKEN if row.sha256 else REFUSED
    short, long = sorted((row.measures.width, row.measures.height))
    if short < RULES.min_side:
        return SMALL
    if long > RULES.max_aspect * short:
        return ASPECT
    return BLANK if row.measures.contrast < RULES.min_contrast else KEPT


def row_by_row(rows: list[Row]) -> list[Decision]:
    """`decide` by its definition."""
    bits = RULES.duplicate_bits
    named = {row.sha256 for row in rows if row.is_excluded} - {""}
    banned = [row for row in rows if row.sha256 in named and row.measures]
    found, copied = [rule_of(row) for row in rows], list(range(len(rows)))
    for i, row in enumerate(rows):
        if row.is_excluded or row.sha256 in named:
            found[i] = EXCLUDED
        elif found[i] == KEPT:
            copied[i] = next(k for k, other in enumerate(rows) if other.sha256 == row.sha256)
            found[i] = KEPT if copied[i] == i else COPY

    def size(i: int) -> tuple[int, int]:
        measures = rows[i].measures
        assert measures is not None
        return min(measures.width, measures.height), max(measures.width, measures.height)

    kept: list[int] = []
    for i in sorted((i for i, what in enumerate(found) if what == KEPT), key=size, reverse=True):
        if any(apart(rows[i], other) <= bits for other in banned):
            found[i] = EXCLUDED
        elif near := [k for k in kept if apart(rows[i], rows[k]) <= bits]:
            found[i], copied[i] = DUPLICATE, min(near, key=lambda k: apart(rows[i], rows[k]))
        else:
            kept.append(i)
    numbers = {i: number for number, i in enumerate(sorted(kept), 1)}
    decisions = []
    for i, what in enumerate(found):
        first = copied[i] if what == COPY else i
        is_out = found[first] == EXCLUDED
        decisions.append(Decision(EXCLUDED if is_out else what, numbers.get(copied[first])))
    return decisions


HASHES = [int.from_bytes(hashlib.sha256(bytes([seed])).digest()) for seed in range(3)]
MEASURES = st.builds(
    Measures,
    st.sampled_from([60, 64, 100, 200]),
    st.sampled_from([64, 100, 200]),
    st.sampled_from([10.0, 12.0, 50.0, 60.0]),
    st.tuples(st.sampled_from(HASHES), st.integers(0, 40), st.integers(0, 20)).map(
        lambda drawn: f"{drawn[0] ^ ((1 << drawn[1]) - 1 << drawn[2]):064x}"
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.none() | MEASURES, min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(-1, 7), st.integers(0, 15)), max_size=25),
)
def test_decisions_are_those_of_row_by_row(
    images: list[Measures | None], drawn: list[tuple[int, int]]
) -> None:
    rows = []
    for i, (image, luck) in enumerate(drawn):
        row = Row(0, "s", f"{i}", "", None, "a link", luck == 0)
        if image >= 0:
            sha256 = hashlib.sha256(bytes([image])).hexdigest()
            measures = images[image % len(images)]
            row = dataclasses.replace(row, sha256=sha256, measures=measures, why="")
        rows.append(row)
    found, expected = decide(rows, RULES), row_by_row(rows)
    assert list(found) == expected
    whats = [decision.what for decision in expected]
    assert found.counts() == {what: whats.count(what) for what in ORDER if what in whats}
