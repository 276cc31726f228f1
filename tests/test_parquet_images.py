"""Parquet files with images in their rows, as the Hugging Face hub's data sets have them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from collecting import silent
from lockstep.config.classes import classes_of
from lockstep.config.load import load_params
from lockstep.config.new import inspect_images, inspect_photos, is_table
from lockstep.config.schema import Condition
from lockstep.core import parquet_images
from lockstep.core.errors import LockstepError
from lockstep.core.files import csv_rows
from lockstep.data import captions
from lockstep.sources import image_folder
from lockstep.sources.captions import forms
from lockstep.sources.captions.folder import import_folder
from lockstep.sources.folders.read import ReadSettings
from lockstep.sources.folders.unpack import Entry, Source, entries
from lockstep.sources.registry import source_of
from odd_files import encoded, head
from tiny import ROOT

READING = ReadSettings(size=16, max_pixels=100_000)
NAMES = ["cat", "dog/wolf"]


def image(number: int) -> bytes:
    return encoded(head(number), "PNG")


def write(path: Path, rows: list[dict[str, Any]], names: list[str] | None = None) -> Path:
    """As `datasets` writes it: images as structs, and the names of classes beside the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    if names is not None:
        said = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(said)})
    parquet.write_table(table, path, row_group_size=3)
    return path


def with_struct(numbers: range, **more: list[Any]) -> list[dict[str, Any]]:
    return [
        {"image": {"bytes": image(n), "path": f"{n}.png"}, **{k: v[i] for k, v in more.items()}}
        for i, n in enumerate(numbers)
    ]


def read(path: Path) -> list[Entry]:
    return list(entries([Source("own", path)], 10**7))


@pytest.mark.parametrize("column", ["image", "img", "jpg"])
def test_columns_of_bytes_are_images_too(column: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", [{"n": n, column: image(n)} for n in range(7)])
    found = read(path)
    assert [entry.data for entry in found] == [image(n) for n in range(7)]
    assert [entry.path for entry in found] == [f"{n:08}" for n in range(7)]
    looked = inspect_images(path)
    assert (looked.condition, looked.count, looked.side) == ("none", 7, 96)
    assert inspect_photos(path).count == 7
    assert not is_table(path)


def test_classes_are_those_that_datasets_has_noted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder / "train-0.parquet", with_struct(range(4), label=[0, 1, 1, 0]), NAMES)
    write(folder / "train-1.parquet", with_struct(range(4, 7), label=[1, 1, 0]), NAMES)
    looked = inspect_images(folder)
    assert (looked.condition, looked.classes) == ("classes", {"cat": 3, "dog_wolf": 4})
    places = {entry.path for entry in read(folder)}
    assert "train-1.parquet!/dog_wolf/00000001" in places and len(places) == 7
    # Each split in a folder of its own, and one of them without classes, as `datasets` has it.
    for name in ("train-0", "train-1"):
        (folder / name[:7]).mkdir(exist_ok=True)
        (folder / f"{name}.parquet").rename(folder / name[:7] / f"{name[5:]}.parquet")
    write(folder / "test" / "0.parquet", with_struct(range(7, 9), label=[-1, -1]), NAMES)
    assert inspect_images(folder).classes == {"cat": 3, "dog_wolf": 4}
    refused = {entry.path for entry in read(folder) if entry.refused == "a row without a class"}
    assert refused == {"test/0.parquet!/00000000", "test/0.parquet!/00000001"}


@pytest.mark.parametrize("place", ["{}.parquet", "train-{}.PARQUET", "{}/x.parquet"])
def test_files_are_no_classes(place: str, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / place.format(number), with_struct(range(3), n=[1, 2, 3]))
    looked = inspect_images(tmp_path)
    assert (looked.condition, looked.count, looked.classes) == ("none", 6, {})
    assert classes_of([entry.path for entry in read(tmp_path)]) is None
    for number in range(2):  # nor is a single one
        write(tmp_path / place.format(number), with_struct(range(3), label=["a"] * 3))
    assert inspect_images(tmp_path).condition == "none"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", "b", "a"], {"a", "b"}),
        ([3, 4, 3], {"3", "4"}),
        ([3, -1, None], {"3", None}),
        (["../x", " . ", "/"], {"_x", None, "_"}),
    ],
)
def test_other_labels(labels: list[Any], expected: set[str | None], tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", with_struct(range(3), label=labels))
    layout = parquet_images.layout(path)
    assert layout is not None
    assert {row.label for row in parquet_images.rows(path, layout, images=False)} == expected


@pytest.mark.parametrize("condition", ["none", "classes"])
def test_they_become_a_set(
    condition: Condition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(image_folder, "cores", lambda: 1)
    (tmp_path / "exclude.txt").write_text("own.parquet:cat/00000002\n")
    path = write(tmp_path / "own.parquet", with_struct(range(6), label=[0, 1, 0, 1, 0, 0]), NAMES)
    params = load_params("anime", ROOT / "params.yaml")
    settings = dataclasses.replace(params.source, paths=(path.name,), size=32, min_side=16)
    params = dataclasses.replace(params, source=settings, condition=condition)
    out = tmp_path / "out"
    out.mkdir()
    source = source_of(params)
    assert source.collect(params, out).metrics == {"kept": 5, "found": 6}
    collected = source.read(out)
    assert list(collected.names) == ([] if condition == "none" else ["cat", "dog_wolf"])
    assert collected.conditions.sum() == (0 if condition == "none" else 5)
    decisions = [row["decision"] for row in csv_rows(out / "decisions.csv")]
    assert decisions.count("excluded") == 1


def test_sentences_become_prompts(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder / "train.parquet", with_struct(range(4), text=["a cat", " a  dog ", "", None]))
    write(folder / "more" / "train.parquet", with_struct(range(4, 6), text=["a cat", "a wolf"]))
    (folder / "._train.parquet").write_bytes(b"what a system puts there")
    looked = inspect_images(folder)
    assert (looked.condition, looked.count, looked.side) == ("prompts", 4, 96)
    out = tmp_path / "out"
    out.mkdir()
    import_folder(folder, out, READING, 2, silent)
    assert captions.read_train(out / captions.TRAIN) == {
        "more_train_00000000.png": ["a cat"],
        "more_train_00000001.png": ["a wolf"],
        "train_00000000.png": ["a cat"],
        "train_00000001.png": ["a dog"],
    }
    asked = captions.read_test(out / captions.TEST)
    assert sorted(asked.values()) == ["a cat", "a dog", "a wolf"]
    assert len(list((out / captions.IMAGES).iterdir())) == 4
    # One file in place of the folder, with several sentences an image.
    one = write(tmp_path / "one.parquet", with_struct(range(2), caption=[["a", "b", "a"], ["c"]]))
    assert list(forms.read(one).train.values()) == [["a", "b"], ["c"]]


def test_names_that_would_be_one_are_refused(tmp_path: Path) -> None:
    for name in ("a/b", "a_b"):
        write(tmp_path / f"{name}.parquet", with_struct(range(1), text=["a cat"]))
    with pytest.raises(LockstepError, match=r"would both give a_b_00000000.png; rename one"):
        forms.read(tmp_path)


def test_a_test_file_beside_a_single_one_is_somebody_elses(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", with_struct(range(1), text=["a cat"]))
    (tmp_path / "test.json").write_text('["a dog"]')
    assert forms.read(path).test == {"0": "a cat"}
    assert forms.read(tmp_path).test == {"0": "a dog"}


@pytest.mark.parametrize("first", ["conditioning_image", "audio", "mask"])
def test_the_column_called_image_is_the_image(first: str, tmp_path: Path) -> None:
    rows = [{first: {"bytes": b"another", "path": ""}, **row} for row in with_struct(range(2))]
    assert [entry.data for entry in read(write(tmp_path / "t.parquet", rows))] == [
        image(0),
        image(1),
    ]


def test_images_beside_rows_with_sentences_are_told(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", with_struct(range(2), text=["a", "b"]))
    (tmp_path / "cat.png").write_bytes(image(1))
    for look in (inspect_images, forms.read):
        with pytest.raises(LockstepError, match=r"cat.png: lies beside Parquet files with sent"):
            look(tmp_path)
    (tmp_path / "cat.txt").write_text("a cat")
    with pytest.raises(LockstepError, match=r"cat.png: lies beside Parquet files with sentences"):
        forms.read(tmp_path)


def test_links_hidden_files_and_other_names_are_no_rows(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    path = write(tmp_path / "t.parquet", with_struct(range(2), label=["a", "b"]))
    for name in ("real.parquet", ".cache/x.parquet", "objects/12ab"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    (folder / "link.parquet").symlink_to(path)
    assert parquet_images.files(folder) == [folder / "real.parquet"]
    rows = [entry.path for entry in read(folder) if "!" in entry.path]
    assert rows == ["real.parquet!/a/00000000", "real.parquet!/b/00000001"]


def test_columns_of_other_kinds_and_cases(tmp_path: Path) -> None:
    rows = with_struct(range(2))
    table = pyarrow.Table.from_pylist(rows)
    table = table.append_column("Labels", pyarrow.array(["x", "y"]).dictionary_encode())
    table = table.append_column("TEXT", pyarrow.array(["a", "b"], pyarrow.large_string()))
    parquet.write_table(table, tmp_path / "t.parquet")
    found = parquet_images.layout(tmp_path / "t.parquet")
    assert found is not None and (found.label, found.text) == ("Labels", "TEXT")
    said = parquet_images.rows(tmp_path / "t.parquet", found)
    assert [(row.label, row.sentences) for row in said] == [("x", ("a",)), ("y", ("b",))]


@pytest.mark.parametrize(
    ("labels", "names"), [([0, 1], ["a/b", "a_b"]), (["c", "c."], None), ([2, 0], ["2", "x"])]
)
def test_two_classes_of_one_name_are_refused(
    labels: list[Any], names: list[str] | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "t.parquet", with_struct(range(2), label=labels), names)
    for look in (read, inspect_images):
        with pytest.raises(LockstepError, match=r"damaged \(the classes .* and .* are both "):
            look(path)


def test_rows_without_any_class_are_told(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", with_struct(range(2), label=[-1, -1]))
    with pytest.raises(LockstepError, match=r"no row of its Parquet files has a class; remove"):
        inspect_images(tmp_path)


def test_a_value_that_stands_in_every_row_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t.parquet", with_struct(range(1)) * 64)
    rows = [{"image": image(0), "text": "long " * 40_000}] * 64
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)  # as a dictionary of one
    found = parquet_images.layout(path)
    assert found is not None and found.size < 100_000
    assert len([*parquet_images.rows(path, found)]) == 64
    monkeypatch.setattr(parquet_images, "_SLACK", 0)
    monkeypatch.setattr(parquet_images, "_RATIO", 10)
    with pytest.raises(ValueError, match="unpacks to more than 10 times its size"):
        [*parquet_images.rows(path, found, images=False)]


def test_a_column_with_a_dot_in_its_name(tmp_path: Path) -> None:
    rows = [{"data.pic": row["image"]} for row in with_struct(range(2))]
    found = [entry.data for entry in read(write(tmp_path / "t.parquet", rows))]
    assert found == [image(0), image(1)]


def test_a_large_group_of_rows_is_read_in_parts(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    rows = [{"image": noise.bytes(2**14)} for _ in range(6144)]  # 96 MB
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    before = pyarrow.total_allocated_bytes()
    found = parquet_images.layout(tmp_path / "t.parquet")
    assert found is not None
    stream = parquet_images.rows(tmp_path / "t.parquet", found)
    assert next(stream).number == 0
    assert pyarrow.total_allocated_bytes() - before < 48 * 2**20
    stream.close()


def test_a_row_without_an_image_has_a_reason_or_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"image": {"bytes": None, "path": "x"}, "text": "a cat"}, *with_struct(range(1))]
    rows[1]["text"] = "a dog"
    path = write(tmp_path / "t.parquet", rows)
    assert [entry.refused for entry in read(path)] == ["a row without an image", ""]
    out = tmp_path / "out"
    out.mkdir()
    import_folder(path, out, READING, 1, silent)
    assert captions.read_train(out / captions.TRAIN) == {"t_00000001.png": ["a dog"]}
    said = capsys.readouterr().err
    assert "1 images of its rows are missing or broken: t_00000000.png (empty); they are" in said


def test_a_table_without_images_beside_images_is_a_row(tmp_path: Path) -> None:
    write(tmp_path / "own" / "about.parquet", [{"url": "https://a.example", "n": 1}])
    (tmp_path / "own" / "a.png").write_bytes(image(1))
    refused = {entry.path: entry.refused for entry in read(tmp_path / "own")}
    assert refused == {"a.png": "", "about.parquet": "archive: a table without images"}


def test_what_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    rows = [{"image": bytes(2**20)} for _ in range(80)]
    table = pyarrow.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "t.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(LockstepError, match=r"damaged \(unpacks to more than 200 times its size\)"):
        read(tmp_path / "t.parquet")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "t.parquet"
    rows = with_struct(range(3), label=[0, 1, 1], text=["a cat", "a dog", "a wolf"])
    return write(path, rows, NAMES).read_bytes()


def survived(path: Path) -> None:
    """Every reader gives rows, or one line."""
    for work in (read, inspect_images, is_table, lambda place: [*forms.read(place).images]):
        try:
            work(path)
        except LockstepError as error:
            assert str(error)


@given(cut=st.integers(0, 600))
def test_a_file_cut_short_is_one_line(
    cut: int, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    path.write_bytes(whole[: len(whole) - cut])
    survived(path)
    survived(path.parent)


def test_damage_is_rows_or_one_line(whole: bytes, tmp_path: Path) -> None:
    """Bits of the footer, where a wrong one could end the process, and of the columns."""
    length = int.from_bytes(whole[-8:-4], "little")
    path = tmp_path / "t.parquet"
    for place in (*range(4, 200, 7), *range(len(whole) - 8 - length, len(whole), 3)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        survived(path)
