"""Near copies among perceptual hashes: which are kept, and of which the others are copies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lockstep.sources.hash_index import NONE, HashIndex, Packed, Words, distances, words_of

_ROWS = 1024


def first_alike(hashes: Packed, bits: int) -> NDArray[np.int64]:
    """For each of (N, 32) bytes the earlier hash that it repeats, or -1 if it stays -> (N,).

    In order: each hash that differs from all that stayed so far in more than `bits` of its 256
    bits stays too; another one repeats the nearest of those that stayed, the first of equally near
    ones.
    """
    words = words_of(hashes)
    found = np.full(len(words), -1, np.int64)
    kept = HashIndex(bits)
    numbers = np.empty(len(words), np.int64)  # of those kept
    for start in range(0, len(words), _ROWS):
        rows = words[start : start + _ROWS]
        nearest = kept.nearest(rows)
        here = found[start : start + _ROWS]
        repeats = nearest < NONE
        here[repeats] = numbers[nearest[repeats] & 0xFFFFFFFF]
        _repeat_among(rows, nearest >> 32, start, here, bits)
        stay = np.flatnonzero(here < 0)
        numbers[len(kept) : len(kept) + len(stay)] = start + stay
        kept.add(rows[stay])
    return found


def _repeat_among(
    rows: Words, nearest: NDArray[np.int64], start: int, found: NDArray[np.int64], bits: int
) -> None:
    """Put into `found` what repeats one of the rows themselves, the first of which is `start`.

    `nearest` says how far the nearest one before them is.
    """
    may_stay = np.flatnonzero(found < 0)
    apart = distances(rows, rows[may_stay])
    is_before = may_stay < np.arange(len(rows))[:, None]
    is_nearer = is_before & (apart < np.minimum(nearest, bits + 1)[:, None])
    for i in np.flatnonzero(is_nearer.any(1)).tolist():
        stayed = np.flatnonzero(is_nearer[i] & (found[may_stay] < 0))
        if len(stayed):
            found[i] = start + may_stay[stayed[apart[i, stayed].argmin()]]


def alike(hashes: Packed, others: Packed, bits: int) -> NDArray[np.bool_]:
    """For each of (N, 32) bytes whether one of (M, 32) differs in no more than so many bits."""
    index = HashIndex(bits)
    index.add(words_of(others))
    words = words_of(hashes)
    found = np.zeros(len(words), np.bool_)
    for start in range(0, len(words), _ROWS):
        found[start : start + _ROWS] = index.nearest(words[start : start + _ROWS]) < NONE
    return found
