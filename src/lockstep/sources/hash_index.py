"""Perceptual hashes that can be searched, exactly, for the nearest within a distance.

Cut into bands, two hashes that differ in up to d bits differ in no more than t_j in at least one
band j, if the t_j + 1 sum up to d + 1: were each band farther apart, the whole would be, too. So
there is a table for each band, and a hash is compared only with what the tables have under a key
that differs from its own in up to t_j bits (Norouzi, Punjani and Fleet, "Fast Exact Search in
Hamming Space with Multi-Index Hashing", 2014; a t_j for each band as in Qin et al., "GPH:
Similarity Search in Hamming Space", 2018).

Where the tables would save nothing, a hash is compared with all: few hashes, a large distance, or
hashes that crowd together.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from lockstep.core.processes import cores
from lockstep.sources.perceptual_hash import BITS

Packed = NDArray[np.uint8]
Words = NDArray[np.uint64]

NONE = (BITS + 1) << 32
"""More than any distance and place; see `HashIndex.nearest`."""

# Of 8 to 40 bands, 11 were the fastest or nearly so, for a million hashes and for distances from
# 24 to 40, whether their bits are independent or those of aligned faces.
_BANDS = 11
_WIDTHS = [BITS // _BANDS + (band < BITS % _BANDS) for band in range(_BANDS)]
_STARTS = list(accumulate(_WIDTHS, initial=0))[:-1]
_SHIFTS = np.concatenate([np.arange(width, dtype=np.uint32) for width in _WIDTHS])

# Rows and columns of a tile of distances: what it takes in between stays in the cache.
_TILE_ROWS, _TILE_COLUMNS = 64, 2048
_LEAST_CAPACITY, _AT_ONCE = 2**13, 2**14
_PROBES = 2**20  # of tables at once
# A pair that a table names costs as much as so many of all with all, and so does a lookup.
_PAIR, _LOOKUP = 8, 4
# A step along the entries of one key costs as much as so many pairs, however few it has.
_STEP = 1000


def words_of(packed: Packed) -> Words:
    """(N, 32) bytes -> (N, 4) words of the same bits."""
    return np.ascontiguousarray(packed).view(np.uint64)


def distances(rows: Words, others: Words) -> NDArray[np.uint16]:
    """In how many bits each of (N, 4) differs from each of (M, 4) -> (N, M)."""
    a, b, c, d = (
        np.bitwise_count(row[:, None] ^ other) for row, other in zip(rows.T, others.T, strict=True)
    )
    return np.add(a + b, c + d, dtype=np.uint16)


class HashIndex:
    """Hashes in the order in which they were added, for searches within `bits` bits."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        base, more = divmod(bits + 1, _BANDS)
        self._radii = [base - 1 + (band < more) for band in range(_BANDS)]
        self._lookups = sum(map(_within, _WIDTHS, self._radii))
        self._words = np.empty((_LEAST_CAPACITY, BITS // 64), np.uint64)
        self._count = 0
        # For each band: the last hash of each key, or -1; and for each hash the one before it.
        self._last: NDArray[np.int32] | None = None
        self._before = np.empty((0, 0), np.int32)
        self._masks: list[NDArray[np.uint32]] = []
        self._threads = cores()
        self._pool = ThreadPoolExecutor(self._threads)  # NumPy's long loops run side by side.

    def __len__(self) -> int:
        return self._count

    def add(self, words: Words) -> None:
        """Add (N, 4) words."""
        first, self._count = self._count, self._count + len(words)
        is_full = self._count > len(self._words)
        if is_full:
            grown = np.empty((2 * self._count, self._words.shape[1]), np.uint64)
            grown[:first] = self._words[:first]
            self._words = grown
        self._words[first : self._count] = words
        if self._last is not None and not is_full:
            self._enter(first)
        elif self._count > _LOOKUP * self._lookups:
            self._make_tables()

    def nearest(self, rows: Words) -> NDArray[np.int64]:
        """The nearest hash to each of (N, 4) words, the first of equally near ones.

        (N,) of `distance << 32 | place`; `NONE` where none is within the distance of the index.
        """
        parts = np.array_split(rows, self._threads)
        return np.concatenate(list(self._pool.map(self._nearest, parts)))

    def _nearest(self, rows: Words) -> NDArray[np.int64]:
        found = None if self._last is None else self._by_tables(rows)
        return self._of_all(rows) if found is None else found

    def _make_tables(self) -> None:
        """Tables for as many hashes as there is room for."""
        bits_of_slot = max(12, (len(self._words) - 1).bit_length())
        self._last = self._before = np.empty((0, 0), np.int32)  # frees those before
        self._last = np.full((_BANDS, 1 << bits_of_slot), -1, np.int32)
        self._before = np.empty((_BANDS, len(self._words)), np.int32)
        self._masks = [
            np.unique(self._slots(_masks(width, radius)))
            for width, radius in zip(_WIDTHS, self._radii, strict=True)
        ]
        self._enter(0)

    def _enter(self, first: int) -> None:
        """Put the hashes from `first` on into the tables."""
        assert self._last is not None
        for start in range(first, self._count, _AT_ONCE):
            words = self._words[start : min(start + _AT_ONCE, self._count)]
            for slots, last, before in zip(
                self._slots(_keys(words)).T, self._last, self._before, strict=True
            ):
                order = slots.argsort(kind="stable")
                ordered, places = slots[order], (start + order).astype(np.int32)
                earlier = last[ordered]
                again = np.flatnonzero(ordered[1:] == ordered[:-1])
                earlier[again + 1] = places[again]
                before[places] = earlier
                last[ordered] = places  # of those of one slot the last one

    def _slots(self, keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Where keys of up to 24 bits stand in tables of at least 2^12 slots.

        slot(a ^ b) = slot(a) ^ slot(b).
        """
        assert self._last is not None
        size = self._last.shape[1]
        return (keys ^ keys >> np.uint32(size.bit_length() - 1)) & np.uint32(size - 1)

    def _by_tables(self, rows: Words) -> NDArray[np.int64] | None:
        """As `nearest`, or None as soon as a comparison with all is faster."""
        assert self._last is not None
        found = np.full(len(rows), NONE, np.int64)
        left = len(rows) * self._count // _PAIR
        slots = self._slots(_keys(rows))
        for band, masks in enumerate(self._masks):
            at_once = max(1, _PROBES // max(1, len(masks)))
            for start in range(0, len(rows), at_once):
                probes = slots[start : start + at_once, band, None] ^ masks
                places = self._last[band].take(probes).ravel()
                hit = np.flatnonzero(places >= 0)
                places, of = places[hit], start + hit // max(1, len(masks))
                while len(places):
                    left -= len(places) + _STEP
                    if left < 0:
                        return None
                    self._compare(rows, of, places, found)
                    places = self._before[band].take(places)
                    further = np.flatnonzero(places >= 0)
                    places, of = places[further], of[further]
        return found

    def _compare(
        self,
        rows: Words,
        of: NDArray[np.int64],
        places: NDArray[np.int32],
        found: NDArray[np.int64],
    ) -> None:
        """Put into `found` what is nearer among pairs of rows and hashes."""
        counts = np.bitwise_count(rows.take(of, 0) ^ self._words.take(places, 0))
        apart = np.add(counts[:, 0] + counts[:, 1], counts[:, 2] + counts[:, 3], dtype=np.uint16)
        near = np.flatnonzero(apart <= self._bits)
        values = apart[near].astype(np.int64) << 32 | places[near]
        np.minimum.at(found, of[near], values)

    def _of_all(self, rows: Words) -> NDArray[np.int64]:
        """As `nearest`, by comparing with all."""
        found = np.full(len(rows), NONE, np.int64)
        for top in range(0, len(rows), _TILE_ROWS):
            tile = slice(top, min(top + _TILE_ROWS, len(rows)))
            for start in range(0, self._count, _TILE_COLUMNS):
                others = self._words[start : min(start + _TILE_COLUMNS, self._count)]
                apart = distances(rows[tile], others)
                places = apart.argmin(1)
                least = apart[np.arange(len(apart)), places].astype(np.int64)
                np.minimum(found[tile], least << 32 | start + places, out=found[tile])
        found[found >> 32 > self._bits] = NONE
        return found


def _keys(words: Words) -> NDArray[np.uint32]:
    """(N, 4) -> (N, bands): the bits of each band as a number."""
    bits = np.unpackbits(words.view(np.uint8), axis=1).astype(np.uint32)
    return np.add.reduceat(bits << _SHIFTS, _STARTS, axis=1, dtype=np.uint32)


def _within(width: int, radius: int) -> int:
    """How many numbers of `width` bits have up to `radius` ones."""
    return sum(comb(width, ones) for ones in range(radius + 1))


def _masks(width: int, radius: int) -> NDArray[np.uint32]:
    """Those numbers."""
    found = [
        sum(1 << bit for bit in bits)
        for ones in range(radius + 1)
        for bits in combinations(range(width), ones)
    ]
    return np.array(found, np.uint32)
