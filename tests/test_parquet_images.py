"""Parquet files with images in their rows, as the Hugging Face hub's data sets have them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from collecting import silent
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
    assert "dog_wolf/train-1.parquet!/00000001" in places and len(places) == 7


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
    assert inspect_images(folder).condition == "prompts"
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


def test_a_row_without_an_image_has_a_reason_or_ends_the_run(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": None, "path": "x"}, "text": "a cat"}, *with_struct(range(1))]
    rows[1]["text"] = "a dog"
    path = write(tmp_path / "t.parquet", rows)
    assert [entry.refused for entry in read(path)] == ["a row without an image", ""]
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(LockstepError, match=r"t.parquet: 1 images of its rows are missing or brok"):
        import_folder(path, out, READING, 1, silent)


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


@given(cut=st.integers(0, 600), flipped=st.integers(0, 2**20))
def test_damage_is_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    write(path, with_struct(range(3), label=[0, 1, 1]), NAMES)
    data = bytearray(path.read_bytes())
    data[flipped % len(data)] ^= 0x10
    path.write_bytes(data[: len(data) - cut])
    try:
        assert len(read(path)) <= 3
    except LockstepError as error:
        assert "\n" not in str(error)
    try:
        inspect_images(path)
    except LockstepError as error:
        assert "\n" not in str(error)
