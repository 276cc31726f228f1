"""Folders that say what their images show in the forms of other tools."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from collecting import silent
from lockstep.config.new import inspect_images
from lockstep.core.errors import LockstepError
from lockstep.data import captions
from lockstep.sources.captions import forms
from lockstep.sources.captions.folder import import_folder
from lockstep.sources.captions.packing import read as read_captions
from lockstep.sources.folders.read import ReadSettings

READING = ReadSettings(size=16, max_pixels=10_000)
SAID = {"b/1.jpg": ["a red cube", "one cube, red"], "a.png": ["a cyan sphere"]}


def with_images(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 40 * number % 256, np.uint8)).save(folder / name)
    return folder


def rows(column: str = "text") -> list[dict[str, str]]:
    return [
        {"file_name": name, "width": "20", column: sentence}
        for name, sentences in SAID.items()
        for sentence in sentences
    ]


def metadata_jsonl(folder: Path) -> None:
    lines = (json.dumps(row) for row in rows())
    (folder / "metadata.jsonl").write_text("".join(f"{line}\n" for line in lines))


def several_in_a_row(folder: Path) -> None:
    lines = (json.dumps({"file_name": name, "text": said}) for name, said in SAID.items())
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def metadata_csv(folder: Path) -> None:
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["file_name", "width", "Caption"])
        table.writeheader()
        table.writerows(rows("Caption"))


def metadata_parquet(folder: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows()), folder / "metadata.parquet")


def texts(folder: Path) -> None:
    for name, sentences in SAID.items():
        (folder / name).with_suffix(".txt").write_text("\n\n".join(sentences) + "\n")


FORMS = [metadata_jsonl, several_in_a_row, metadata_csv, metadata_parquet, texts]


@pytest.mark.parametrize("write", FORMS)
def test_each_form_says_the_same(write: Callable[[Path], None], tmp_path: Path) -> None:
    folder = with_images(tmp_path / "own", list(SAID))
    write(folder)
    assert inspect_images(folder).condition == "prompts"
    found = forms.read(folder)
    assert found.train == {"b_1.jpg": SAID["b/1.jpg"], "a.png": SAID["a.png"]}
    assert dict(found.images) == {"b_1.jpg": folder / "b/1.jpg", "a.png": folder / "a.png"}
    assert sorted(found.test.values()) == sorted(
        sentence for sentences in SAID.values() for sentence in sentences
    )
    assert list(found.test) == ["0", "1", "2"]

    out = tmp_path / "out"
    out.mkdir()
    import_folder(folder, out, READING, 1, silent)
    collected = read_captions(out)
    assert [path.name for path in collected.images] == ["a.png", "b_1.png", "b_1.png"]
    assert captions.read_train(out / captions.TRAIN) == {
        "b_1.png": SAID["b/1.jpg"],
        "a.png": SAID["a.png"],
    }
    assert captions.read_test(out / captions.TEST) == found.test


def test_what_is_asked_for_may_be_said(tmp_path: Path) -> None:
    folder = with_images(tmp_path, list(SAID))
    texts(folder)
    (folder / "test.json").write_text('["a blue cone"]')
    assert forms.read(folder).test == {"0": "a blue cone"}


def test_of_many_sentences_the_same_32_are_asked_for(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(50)]
    asked = set()
    for folder, order in ((tmp_path / "a", names), (tmp_path / "b", names[::-1])):
        with_images(folder, order)
        lines = (json.dumps({"file_name": n, "text": f"number {n[:-4]}"}) for n in order)
        (folder / "metadata.jsonl").write_text("\n".join(lines))
        asked.add(tuple(forms.read(folder).test.items()))
    ((*prompts,),) = asked
    assert len({prompt for _, prompt in prompts}) == 32


def test_the_published_form_goes_first(tmp_path: Path) -> None:
    folder = with_images(tmp_path, ["a.png"])
    texts_of_all = {"a.png": "as train_info.json says"}
    (folder / "train_info.json").write_text(json.dumps(texts_of_all))
    (folder / "test.json").write_text('["x"]')
    (folder / "a.txt").write_text("as the text says")
    assert forms.read(folder).train == {"a.png": ["as train_info.json says"]}


def test_images_with_few_texts_beside_them_are_images(tmp_path: Path) -> None:
    folder = with_images(tmp_path, ["a.png", "b.png", "c.png"])
    (folder / "a.txt").write_text("a remark")
    (folder / "readme.txt").write_text("what this is")
    assert inspect_images(folder).condition == "none"
    (folder / "b.txt").write_text("another remark")
    assert inspect_images(folder).condition == "prompts"


def row(**values: object) -> str:
    return json.dumps(values)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"train_info.json: missing; a folder of captions has train_info.json and test.json, "),
        ({"metadata.jsonl": ""}, r"train_info.json: missing; a folder of captions has"),
        ({"metadata.csv": "file_name,x\n"}, r"train_info.json: missing; a folder of captions has"),
        ({"metadata.csv": "x,text\n"}, r"metadata.csv: has the columns 'x', 'text'; it needs 'fi"),
        ({"metadata.csv": "file_name,text\n"}, r"metadata.csv says nothing of any image; add rows"),
        ({"metadata.jsonl": row(file_name="a.png", text=1)}, r"metadata.jsonl:1: text: must be te"),
        ({"metadata.jsonl": row(file_name="a.png", text=[])}, r"metadata.jsonl:1: text: must be t"),
        ({"metadata.jsonl": row(file_name="a.png", text=" ")}, r"metadata.jsonl:1: text: is empty"),
        ({"metadata.jsonl": row(file_name="", text="x")}, r"metadata.jsonl:1: has no file_name; n"),
        ({"metadata.jsonl": row(file_name="../a.png", text="x")}, r"leads out of the folder; give"),
        ({"metadata.jsonl": row(file_name="/a.png", text="x")}, r"leads out of the folder; give a"),
        ({"metadata.jsonl": row(file_name="a\0.png", text="x")}, r"is no bare file name"),
        (
            {"metadata.jsonl": "\n".join(row(file_name=n, text="x") for n in ("b/a", "b_a"))},
            r"'b/a' and 'b_a' would both become b_a.png; rename one",
        ),
        ({"a.txt": "\n"}, r"a.txt: has no word; write a sentence, or move it elsewhere"),
        ({"a.txt": "0 0.5 0.5 1 1\n"}, r"a.txt: has no word; write a sentence, or move it else"),
        ({"a.txt": "fine", "b.png": ""}, r"1 of 2 images have no .txt beside them: b.png; write"),
    ],
)
def test_what_cannot_be_is_one_line(files: dict[str, str], said: str, tmp_path: Path) -> None:
    folder = with_images(tmp_path / "own", ["a.png"])
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(LockstepError, match=said) as caught:
        forms.read(folder)
    assert "\n" not in str(caught.value)


def test_images_that_are_missing_or_broken_are_listed(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "own", ["a.png"])
    (folder / "b.png").write_text("no image")
    lines = (row(file_name=f"{name}.png", text="x") for name in "abc")
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(LockstepError, match=r"own: 2 images of metadata.jsonl are missing or brok"):
        import_folder(folder, out, READING, 1, silent)


def test_what_a_system_puts_there_is_no_image(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "own", ["a.png", "__MACOSX/a.png", ".thumbnails/a.png"])
    (folder / "a.txt").write_text("a cube")
    assert set(forms.read(folder).train) == {"a.png"}
