"""Near copies among perceptual hashes: found by tables, decided as by comparing all with all."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lockstep.sources import hash_index
from lockstep.sources.hash_index import NONE, HashIndex, words_of
from lockstep.sources.near_copies import alike, first_alike

# Every part is small, and a table is used from the first hash on, whatever it costs.
TINY: dict[str, Any] = {
    "hash_index._LEAST_CAPACITY": 2,
    "hash_index._AT_ONCE": 3,
    "hash_index._PROBES": 16,
    "hash_index._TILE_ROWS": 2,
    "hash_index._TILE_COLUMNS": 3,
    "near_copies._ROWS": 4,
}
ALWAYS: dict[str, Any] = {"hash_index._LOOKUP": 0, "hash_index._PAIR": 2.0**-40}


def with_copies(count: int, most: int, seed: int, *, alike_bits: int = 0) -> NDArray[np.uint8]:
    """(N, 32): two thirds are new, the others differ from one of those in up to `most` bits.

    `alike_bits` of the 256 are the same in all.
    """
    random = np.random.default_rng(seed)
    new = random.integers(0, 2, (count - count // 3, 256)).astype(np.uint8)
    new[:, :alike_bits] = new[0, :alike_bits]
    copies = new[random.integers(0, len(new), count // 3)]
    order = random.random(copies.shape).argsort(1)
    copies ^= order < random.integers(0, most + 1, (len(copies), 1))
    return np.packbits(random.permutation(np.concatenate([new, copies])), axis=1)


def all_with_all(hashes: NDArray[np.uint8], bits: int) -> list[int]:
    """`first_alike` by its definition."""
    words = words_of(hashes)
    kept, numbers = np.empty_like(words), []
    found = []
    for i, word in enumerate(words):
        apart = np.bitwise_count(kept[: len(numbers)] ^ word).sum(1, dtype=np.int64)
        nearest = int(apart.argmin()) if numbers else 0
        if numbers and apart[nearest] <= bits:
            found.append(numbers[nearest])
        else:
            kept[len(numbers)] = word
            numbers.append(i)
            found.append(-1)
    return found


def patched(patch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        patch.setattr(f"lockstep.sources.{name}", value)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_repeats_are_those_of_the_definition(data: st.DataObject, by_tables: bool) -> None:
    bits = data.draw(st.integers(0, 36 if by_tables else 256))
    seeds = data.draw(st.lists(st.integers(0, 2**31), min_size=1, max_size=5))
    flips = st.tuples(st.sampled_from(seeds), st.sets(st.integers(0, 255), max_size=40))
    drawn = []
    for seed, flipped in data.draw(st.lists(flips, max_size=40)):
        drawn.append(np.random.default_rng(seed).integers(0, 2, 256).astype(np.uint8))
        drawn[-1][list(flipped)] ^= 1
    hashes = np.packbits(np.array(drawn, np.uint8).reshape(-1, 256), axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patched(patch, TINY | (ALWAYS if by_tables else {}))
        assert first_alike(hashes, bits).tolist() == all_with_all(hashes, bits)
        apart = np.bitwise_count(hashes[:, None] ^ hashes[:2]).sum(2, dtype=np.int64)
        assert alike(hashes, hashes[:2], bits).tolist() == (apart <= bits).any(1).tolist()


@pytest.mark.parametrize("bits", [0, 8, 24, 32])
def test_tables_alone_find_all(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, {"near_copies._ROWS": 256, "hash_index._LEAST_CAPACITY": 512} | ALWAYS)
    hashes = with_copies(6000, bits + 4, seed=bits)
    expected = all_with_all(hashes, bits)
    monkeypatch.setattr(HashIndex, "_of_all", lambda index, rows: np.full(len(rows), NONE))
    assert first_alike(hashes, bits).tolist() == expected
    assert 300 < sum(place >= 0 for place in expected) < 2000


@pytest.mark.parametrize("bits", [0, 8, 24, 32, 35])
def test_the_tables_are_just_enough(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits spread so that only one table has the other hash, as far away as it looks."""
    patched(monkeypatch, ALWAYS)
    random = np.random.default_rng(bits)
    for nearest_band in range(len(hash_index._WIDTHS)):
        index = HashIndex(bits)
        if index._radii[nearest_band] < 0:
            continue
        signs = random.integers(0, 2, (500, 256)).astype(np.uint8)
        other = signs[123].copy()
        for band, radius in enumerate(index._radii):
            inside = random.permutation(hash_index._WIDTHS[band])
            differing = inside[: radius + (band != nearest_band)]
            other[hash_index._STARTS[band] + differing] ^= 1
        assert np.count_nonzero(other != signs[123]) == bits
        index.add(words_of(np.packbits(signs, axis=1)))
        monkeypatch.setattr(HashIndex, "_of_all", lambda index, rows: np.full(len(rows), NONE))
        found = index.nearest(words_of(np.packbits(other[None], axis=1)))
        assert found.tolist() == [bits << 32 | 123]


def test_all_hashes_of_one_key_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first band tells them apart; the one that is looked for has another key there."""
    patched(monkeypatch, ALWAYS)
    hashes = np.zeros((5, 256), np.uint8)
    hashes[np.arange(5)[:, None], 4 * np.arange(5)[:, None] + np.arange(4)] = 1
    index = HashIndex(3)
    index.add(words_of(np.packbits(hashes, axis=1)))
    hashes[:, 20:22] = 1
    monkeypatch.setattr(HashIndex, "_of_all", lambda index, rows: np.full(len(rows), NONE))
    found = index.nearest(words_of(np.packbits(hashes, axis=1)))
    assert found.tolist() == [2 << 32 | place for place in range(5)]


def compared(index: HashIndex, rows: NDArray[np.uint8], patch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs tables named, and with how many rows everything was compared."""
    counts = [0, 0]
    compare, of_all = HashIndex._compare, HashIndex._of_all

    def counted(index: HashIndex, rows: Any, of: Any, places: Any, found: Any) -> None:
        counts[0] += len(places)
        compare(index, rows, of, places, found)

    def counted_rows(index: HashIndex, rows: Any) -> Any:
        counts[1] += len(rows)
        return of_all(index, rows)

    patch.setattr(HashIndex, "_compare", counted)
    patch.setattr(HashIndex, "_of_all", counted_rows)
    index.nearest(words_of(rows))
    return counts


def test_few_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = with_copies(50_000, 24, seed=1)
    index = HashIndex(24)
    index.add(words_of(hashes))
    pairs, rows = compared(index, hashes[:1000], monkeypatch)
    assert rows == 0
    assert 1000 < pairs < 1000 * len(index) / 200


def test_where_tables_save_nothing_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that have half of their bits in common, and too few hashes."""
    crowd = with_copies(20_000, 24, seed=2, alike_bits=128)
    index = HashIndex(24)
    index.add(words_of(crowd))
    pairs, rows = compared(index, crowd[:1000], monkeypatch)
    assert rows == 1000
    assert pairs <= 1000 * len(index) / hash_index._PAIR
    few = HashIndex(24)
    few.add(words_of(crowd[:100]))
    assert compared(few, crowd[:1000], monkeypatch) == [0, 1000]


@pytest.mark.parametrize("differ", [0, 12])
def test_equal_images_take_no_memory(differ: int) -> None:
    """Black ones, or nearly black ones: each repeats the first."""
    random = np.random.default_rng(0)
    hashes = np.zeros((50_000, 32), np.uint8)
    hashes[np.arange(len(hashes)), random.integers(0, 32, len(hashes))] = differ
    hashes[0] = 0
    tracemalloc.start()
    found = first_alike(hashes, 24)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[0] == -1
    assert not found[1:].any()
    assert peak < 30e6


@pytest.mark.long
@pytest.mark.parametrize("alike_bits", [0, 96, 160])
@pytest.mark.parametrize("bits", [24, 32])
def test_50_000_as_all_with_all(bits: int, alike_bits: int) -> None:
    hashes = with_copies(50_000, bits + 8, seed=3, alike_bits=alike_bits)
    assert first_alike(hashes, bits).tolist() == all_with_all(hashes, bits)
