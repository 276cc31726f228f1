"""Collected images of a large set, in tars."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lockstep.config.load import load_params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.data import shards
from lockstep.sources import image_folder
from lockstep.sources.cards import card
from lockstep.sources.registry import source_of
from odd_files import encoded, head
from tiny import ROOT


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tars of four images, of sets of more than six."""
    monkeypatch.setattr(shards, "ABOVE", 6)
    monkeypatch.setattr(shards, "EACH", 4)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((3, 5, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def written(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True)
    files = [folder / f"{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(png(number))
    return files


def test_a_set_that_is_not_large_stays_as_it_is(small: None, tmp_path: Path) -> None:
    files = written(tmp_path / "images", 6)
    shards.pack(files)
    assert sorted((tmp_path / "images").iterdir()) == files
    assert not shards.tars_of(tmp_path / "images")
    assert [*shards.contents(files)] == [png(number) for number in range(6)]


def test_a_large_one_is_tars_that_any_tar_opens(small: None, tmp_path: Path) -> None:
    files = written(tmp_path / "images", 10)[::-1]
    shards.pack(files)
    tars = shards.tars_of(tmp_path / "images")
    assert [path.name for path in tars] == [f"0000{n}-of-00003.tar" for n in range(3)]
    assert sorted((tmp_path / "images").iterdir()) == tars
    assert sorted(shards.listed(tmp_path / "images")) == sorted(files)
    with tarfile.open(tars[0]) as tar:
        assert tar.getnames() == ["9.png", "8.png", "7.png", "6.png"]
        tar.extractall(tmp_path / "again", filter="data")
    assert (tmp_path / "again" / "7.png").read_bytes() == png(7)
    assert [image[0, 0, 0] for image in shards.images(files)] == [*range(9, -1, -1)]


def test_they_are_the_same_bytes_each_time(small: None, tmp_path: Path) -> None:
    digests = set()
    for name in ("first", "second"):
        shards.pack(written(tmp_path / name, 9))
        tars = shards.tars_of(tmp_path / name)
        digests.add(tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in tars))
    assert len(digests) == 1


@given(repeats=st.lists(st.integers(1, 3), min_size=7, max_size=15))
def test_an_image_may_be_asked_for_several_times(
    tmp_path_factory: pytest.TempPathFactory, repeats: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ABOVE", 6)
        patch.setattr(shards, "EACH", 4)
        files = written(tmp_path_factory.mktemp("shards") / "images", len(repeats))
        asked = [file for file, count in zip(files, repeats, strict=True) for _ in range(count)]
        shards.pack(asked)
        assert [*shards.contents(asked)] == [png(int(file.stem)) for file in asked]


@pytest.mark.parametrize("left", [0, 100, 512, 1024, 2000, -10240])
def test_a_tar_cut_short_is_one_line(small: None, tmp_path: Path, left: int) -> None:
    files = written(tmp_path / "images", 10)
    shards.pack(files)
    path = tmp_path / "images" / "00001-of-00003.tar"
    path.write_bytes(path.read_bytes()[:left])
    assert_refused(path, files)


def assert_refused(path: Path, files: list[Path]) -> None:
    for read in (lambda: shards.listed(path.parent), lambda: [*shards.contents(files)]):
        with pytest.raises(LockstepError, match=rf"{path.name}: damaged \(.+\); `dvc checkout`"):
            read()


@pytest.mark.parametrize("member", range(4))
def test_a_damaged_header_makes_no_set_smaller(member: int, small: None, tmp_path: Path) -> None:
    files = written(tmp_path / "images", 10)
    shards.pack(files)
    path = tmp_path / "images" / "00001-of-00003.tar"
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[member].offset
    whole = path.read_bytes()
    for damage in (b"\xff", bytes(512)):
        path.write_bytes(whole[: offset + 3] + damage + whole[offset + 3 + len(damage) :])
        assert_refused(path, files)


def test_a_tar_that_is_missing_is_one_line(small: None, tmp_path: Path) -> None:
    files = written(tmp_path / "images", 10)
    shards.pack(files)
    for number in (2, 0):
        path = tmp_path / "images" / f"0000{number}-of-00003.tar"
        path.unlink()
        for read in (lambda: shards.listed(files[0].parent), lambda: [*shards.contents(files)]):
            with pytest.raises(LockstepError, match=rf"{path.name}: missing; `dvc checkout`"):
                read()


def test_what_is_not_there_is_one_line(small: None, tmp_path: Path) -> None:
    files = written(tmp_path / "images", 10)
    files[3].unlink()
    with pytest.raises(LockstepError, match=r"3\.png: cannot be read \(No such file"):
        [*shards.contents(files)]
    shards.pack([*files[:3], *files[4:]])
    with pytest.raises(LockstepError, match=r"3\.png: not in the tars of its folder"):
        [*shards.contents(files)]


def test_what_is_no_image_in_a_tar_is_named(small: None, tmp_path: Path) -> None:
    files = written(tmp_path / "images", 10)
    files[5].write_bytes(b"nothing")
    shards.pack(files)
    with pytest.raises(LockstepError, match=r"images/5\.png: not a readable image"):
        [*shards.images(files)]


SOURCES = {
    "images": ("anime", "none"),
    "classes": ("anime", "classes"),
    "rendered, labels": ("iclevr", "labels"),
    "rendered, prompts": ("captions", "prompts"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_reads_them_as_files(
    kind: str, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(image_folder, "cores", lambda: 1)
    (tmp_path / "exclude.txt").touch()
    for number in range(12):
        place = tmp_path / "own" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(head(number), "PNG"))
    workload, condition = SOURCES[kind]
    given = {"paths": (str(tmp_path / "own"),)} if workload == "anime" else {"count": 64}
    params = load_params(workload, ROOT / "params.yaml")
    settings = dataclasses.replace(params.source, size=16, **given)
    params = dataclasses.replace(params, source=settings, condition=condition)
    source = source_of(params)

    out = tmp_path / "out"
    out.mkdir()
    found = source.collect(params, out)
    before = source.read(out)
    images = [*shards.images(before.images)]
    shards.pack(before.images)
    after = source.read(out)
    assert after.images == before.images
    assert not any(path.exists() for path in after.images)
    assert np.array_equal([*shards.images(after.images)], images)
    assert np.array_equal(after.conditions, before.conditions)
    card.write(params, out, found, after)
    text = (out / paths.card(workload).name).read_text("utf-8")
    files = yaml.safe_load(text.split("---")[1])["configs"][0]["data_files"]
    assert files == [f"{before.images[0].parent.name}/*.tar"]
    assert "in tars of 4: 16 x 16 pixels, RGB, PNG." in text
