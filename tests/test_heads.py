"""Drawn heads: a function of (seed, number, size); the archives, and the truth about them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from collecting import silent
from lockstep.synthetic.heads import archives, draw, files, write
from lockstep.synthetic.heads.archives import BROKEN, COPY, HEAD, MIXED, NEAR, RUBBISH, SMALL


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(1, 300))
def test_any_head_can_be_drawn_at_any_size(seed: int, number: int, size: int) -> None:
    image = draw(seed, number, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert (image == draw(seed, number, size)).all()


def test_it_is_the_same_head_at_any_size() -> None:
    for number in range(6):
        small, large = draw(0, number, 64), draw(0, number, 200)
        reduced = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - reduced).mean() < 8


def test_heads_differ() -> None:
    images = [draw(0, number).astype(int) for number in range(12)] + [draw(1, 0).astype(int)]
    assert all(np.abs(a - b).mean() > 15 for a, b in combinations(images, 2))


@pytest.mark.parametrize("arguments", [(-1, 0, 64), (0, -1, 64), (0, 0, 0)])
def test_nonsense_is_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"non-negative|below 1"):
        draw(*arguments)


def test_the_archives_are_the_same_bytes_however_many_processes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", 40, 3, 1, silent)
    two = write(tmp_path / "two", 40, 3, 2, silent)
    other = write(tmp_path / "other", 40, 4, 1, silent)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert [path.read_bytes() for path in one] != [path.read_bytes() for path in other]


def test_the_archives_hold_what_the_truth_says(tmp_path: Path) -> None:
    small, mixed = write(tmp_path, 60, 0, 1, silent)
    with zipfile.ZipFile(small) as archive:
        held = {(SMALL, name): archive.read(name) for name in archive.namelist()}
    with tarfile.open(mixed) as archive:
        for info in archive:
            file = archive.extractfile(info)
            assert file is not None
            held[MIXED, info.name] = file.read()
    planned = files(60, 0)
    assert list(held) == [(file.archive, file.path) for file in planned]
    by_head: dict[int, set[bytes]] = {}
    for file in planned:
        data = held[file.archive, file.path]
        if file.what == BROKEN:
            with pytest.raises((OSError, UnidentifiedImageError, SyntaxError)):
                Image.open(io.BytesIO(data)).load()
            continue
        with Image.open(io.BytesIO(data)) as image:
            assert min(image.size) == file.side
            assert file.archive == MIXED or (image.size == (64, 64) and image.format == "PNG")
        if file.what in (HEAD, COPY):
            by_head.setdefault(file.number, set()).add(data)
    assert all(len(versions) == 1 for versions in by_head.values())


def test_every_head_is_there_and_some_of_each_kind_of_rubbish() -> None:
    planned = files(1000, 0)
    found = Counter(file.what for file in planned)
    assert found[HEAD] == 1000
    assert {file.head for file in planned if file.what == HEAD} == set(range(1000))
    assert all(found[what] == round(share * 1000) for what, share in RUBBISH.items())
    assert found[COPY] > 20 < found[NEAR]
    assert all(file.head is None for file in planned if file.what in RUBBISH)
    across = {(f.archive, f.head) for f in planned if f.head is not None}
    assert len(across) > 1020, "near duplicates must stand in the other archive too"
    assert len({(file.archive, file.path) for file in planned}) == len(planned)
    assert archives.files(1000, 0) == planned
