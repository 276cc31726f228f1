"""`lockstep new` and `lockstep add W.source`: a workload of one's own images."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lockstep import cli
from lockstep.config.document import SHARED_NAMES, read_yaml
from lockstep.config.load import load_all
from lockstep.config.new import FACES
from lockstep.config.sources import Photos
from lockstep.core import hashing
from odd_files import huge_png

ROOT = Path(__file__).resolve().parent.parent
PARAMS = Path("params.yaml")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """`run("new", ...)` -> (exit status, stdout, stderr), in a folder with params.yaml."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["lockstep", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    return call


def images(folder: Path, count: int, side: int = 70, ending: str = ".png") -> Path:
    """Images of noise, a little wider than high."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side + 5, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}{ending}")
    return folder


def flat(root: Path) -> Path:
    return images(root, 12)


def of_classes(root: Path) -> Path:
    images(root / "cat", 7)
    images(root / "dog" / "small", 4, ending=".jpg")
    return root


def of_prompts(root: Path) -> Path:
    images(root / "images", 6)
    names = sorted(path.name for path in (root / "images").iterdir())
    (root / "train_info.json").write_text(json.dumps(dict.fromkeys(names, "a thing")))
    (root / "test.json").write_text(json.dumps(["a thing"]))
    return root


def of_labels(root: Path) -> Path:
    images(root, 6)
    names = sorted(path.name for path in root.glob("*.png"))
    files = {
        "objects": {"cube": 0},
        "train": {name: ["cube"] for name in names},
        "test": [["cube"]],
        "new_test": [["cube"]],
    }
    for name, content in files.items():
        (root / f"{name}.json").write_text(json.dumps(content))
    return root


def zipped(root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(of_classes(root).rglob("*.*")):
            archive.write(file, file.relative_to(root.parent))
    return path


def tarred(root: Path) -> Path:
    path = root.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(flat(root), "pets")
    return path


@pytest.mark.parametrize(
    ("make", "condition", "evaluator"),
    [
        (flat, "none", "rotation"),
        (of_classes, "classes", "classifier"),
        (of_prompts, "prompts", "scenes"),
        (of_labels, "labels", "classifier"),
        (zipped, "classes", "classifier"),
        (tarred, "none", "rotation"),
    ],
)
def test_a_folder_becomes_a_workload(run, make, condition: str, evaluator: str) -> None:
    before = PARAMS.read_text().splitlines()
    path = make(Path("my images"))
    status, out, err = run("new", "pets", str(path))
    assert (status, err) == (0, "")
    assert f"condition: {condition}\n" in out and "dvc repro evaluate@pets" in out
    after = PARAMS.read_text().splitlines()
    changes = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert not [line for line in changes if line.startswith("-")]
    assert changes[:1] == ["+ - pets"]
    section = after.index("pets:")
    assert [f"+ {line}" for line in after[section:]] == [line for line in changes[1:] if line[2:]]
    assert after.index("- pets") == after.index("- captions") + 1
    everything = load_all(PARAMS)
    assert list(everything) == [*read_yaml(ROOT / "params.yaml")["workloads"], "pets"]
    found = everything.pop("pets")
    assert everything == load_all(ROOT / "params.yaml")
    assert (found.condition, found.evaluator.type, found.source.size) == (condition, evaluator, 64)
    assert found.source.paths == (str(path),)
    assert found.source.sha256 == (hashing.sha256(path),)
    grids = "grid_every_epochs", "grid_every_steps"
    assert set(read_yaml(PARAMS)["pets"]) == {"source", "condition", *grids, *SHARED_NAMES}
    assert (found.grid_every_epochs, found.grid_every_steps) == (None, found.train.steps // 4)
    # A dozen images: held out ones for each purpose, and batches no larger than there are images.
    assert found.dataset.validation > 0 and found.dataset.evaluator > 0
    assert found.train.batch_size <= 6 and found.evaluator.batch_size <= 4


def test_small_images_are_kept_small_and_many_are_trained_longer(run) -> None:
    run("new", "small", str(images(Path("small"), 150, side=40)))
    run("new", "tiny", str(images(Path("tiny"), 12, side=9)))
    found = load_all(PARAMS)
    assert [found[name].source.size for name in ("small", "tiny")] == [32, 16]
    assert found["tiny"].source.min_side == 16
    # Each of the few is seen more often.
    assert found["small"].evaluator.epochs < found["tiny"].evaluator.epochs


def empty(root: Path) -> None:
    root.mkdir()


def no_image(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("x")


def an_empty_class(root: Path) -> None:
    of_classes(root)
    (root / "fish").mkdir()
    (root / "fish" / "notes.txt").write_text("x")


def a_class_of_one(root: Path) -> None:
    of_classes(root)
    images(root / "fish", 1)


def classes_alike(root: Path) -> None:
    of_classes(root)
    images(root / "Cat", 3)


def beside_classes(root: Path) -> None:
    of_classes(root)
    images(root, 1)


def prompts_without_images(root: Path) -> None:
    root.mkdir()
    (root / "train_info.json").write_text("{}")


def broken_archive(root: Path) -> None:
    root.write_bytes(b"PK\x03\x04 and nothing more")


def empty_archive(root: Path) -> None:
    zipfile.ZipFile(root, "w").close()


def archive_with_labels(root: Path) -> None:
    with zipfile.ZipFile(root, "w") as archive:
        archive.writestr("mine/objects.json", "{}")
        archive.writestr("mine/a_0.png", "no matter what")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (None, "look: no such file or folder; name one with images"),
        (empty, "look: no image in it (.png, "),
        (no_image, "look: no image in it (.png, "),
        (an_empty_class, "look/fish: no image in it; remove the folder, or add some"),
        (a_class_of_one, "look: the class 'fish' has one image; add some, or remove its folder"),
        (classes_alike, "look: the classes 'Cat' and 'cat' differ in case only; rename one folder"),
        (beside_classes, "look: 0.png: lies beside the folders of the classes; move it into one"),
        (prompts_without_images, "look: no image in it (.png, "),
        (broken_archive, "look: no folder, and no zip or tar that can be read ("),
        (empty_archive, "look: no image in it (.png, "),
        (archive_with_labels, "look: sentences and labels (objects.json) are read from a folder"),
    ],
)
def test_a_folder_that_cannot_be_is_one_line(run, make, said: str) -> None:
    before = PARAMS.read_bytes()
    if make is not None:
        make(Path("look"))
    status, out, err = run("new", "pets", "look")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert PARAMS.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "'a/b' is no name of a workload; begin"),
        ("3d", "'3d' is no name of a workload; begin"),  # DVC's -S takes no such key
        ("no", "'no' is a value and no name to YAML"),
        ("..", "'..' is no name of a workload"),
        ("", "'' is no name of a workload"),
        ("data", "'data' means something else in params.yaml; rename it"),
        ("train", "'train' means something else"),
        ("iclevr", "params.yaml: iclevr is a workload already; choose another name"),
    ],
)
def test_a_name_that_cannot_be_is_one_line(run, name: str, said: str) -> None:
    before = PARAMS.read_bytes()
    flat(Path("mine"))
    status, out, err = run("new", name, "mine")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: {said}")
    assert PARAMS.read_bytes() == before


def test_add_lets_a_workloads_images_come_from_elsewhere(run) -> None:
    before = PARAMS.read_text().splitlines()
    folder = of_labels(Path("official"))
    status, out, err = run("add", "iclevr.source", str(folder))
    assert (status, err) == (0, "")
    digest = hashing.sha256(folder)
    assert out == f"iclevr.source.paths: ['official']\niclevr.source.sha256: ['{digest}']\n"
    found = load_all(PARAMS)
    source = found.pop("iclevr").source
    assert (source.type, source.paths, source.sha256) == ("folder", ("official",), (digest,))
    assert source.size == 64  # as before
    committed = load_all(ROOT / "params.yaml")
    assert found == {name: params for name, params in committed.items() if name != "iclevr"}
    after = PARAMS.read_text().splitlines()
    gone = [line[2:] for line in difflib.ndiff(before, after) if line.startswith("- ")]
    assert all(line.startswith("    ") for line in gone), "only lines of the source itself"
    assert "  condition: labels" in after
    # Again, with another folder.
    other = shutil.copytree(folder, "other")
    images(Path(other) / "images", 1)
    assert run("add", "iclevr.source", "other")[0] == 0
    assert load_all(PARAMS)["iclevr"].source.paths == ("other",)


def test_add_refuses_images_of_which_something_else_is_said(run) -> None:
    before = PARAMS.read_bytes()
    of_classes(Path("my pets"))
    status, _, err = run("add", "iclevr.source", "my pets")
    assert status == 1
    assert err == (
        "error: my pets: looks like images with condition classes, and iclevr has labels; "
        "`lockstep new NAME 'my pets'` makes one of it\n"
    )
    assert PARAMS.read_bytes() == before


def test_what_systems_leave_in_folders_is_no_class(run) -> None:
    folder = of_classes(Path("my pets"))
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "readme.txt").write_text("mine")
    images(folder / ".ipynb_checkpoints", 3)
    (folder / ".git").mkdir()
    path = Path("flat.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(images(Path("flat"), 4, side=40).iterdir()):
            archive.write(file, f"flat/{file.name}")
            archive.writestr(f"__MACOSX/flat/._{file.name}", b"x")
    assert "condition: classes" in run("new", "pets", str(folder))[1]
    assert "condition: none" in run("new", "packed", str(path))[1]
    found = load_all(PARAMS)
    assert found["packed"].source.size == found["packed"].source.min_side == 32


def test_files_that_say_what_images_show_are_read_first(run) -> None:
    before = PARAMS.read_bytes()
    folder = of_prompts(Path("said"))
    (folder / "train_info.json").write_text("[1")
    status, _, err = run("new", "said", str(folder))
    assert status == 1
    assert err.startswith(f"error: {folder / 'train_info.json'}: not valid JSON")
    assert PARAMS.read_bytes() == before


def test_add_sets_what_has_a_hash_and_nothing_else(run, tmp_path: Path) -> None:
    before = PARAMS.read_bytes()
    (tmp_path / "file").write_text("x")
    for key in ("anime.train.lr", "anime.train.betas", "train.lr"):
        status, _, err = run("add", key, str(tmp_path / "file"))
        assert status == 1
        assert "no such parameter to set" in err
    status, _, err = run("new", "long", "x" * 300)
    assert (status, err) == (1, f"error: {'x' * 300}: File name too long\n")
    assert PARAMS.read_bytes() == before


def test_another_folder_of_the_same_type_keeps_the_rules(run) -> None:
    rules = load_all(PARAMS)["anime"].source
    assert run("add", "anime.source", str(flat(Path("heads"))))[0] == 0
    found = load_all(PARAMS)["anime"].source
    assert found == dataclasses.replace(rules, paths=found.paths, sha256=found.sha256)
    assert found.paths == ("heads",)


def test_photographs_become_a_workload_of_faces(run) -> None:
    folder = Path("photos")
    images(folder / "2019", 1)  # a single one would be too few for a class
    images(folder / "2020", 130)
    status, out, _ = run("new", "people", str(folder), "--faces")
    assert (status, out.splitlines()[0]) == (0, "people: 131 images, condition: none")
    found = load_all(PARAMS)["people"]
    assert isinstance(found.source, Photos)
    assert (found.source.paths, found.source.size) == (("photos",), 64)
    assert found.source.sha256 == (hashing.sha256(folder),)
    assert (found.evaluator.type, found.dataset.evaluator) == ("dlib", 0.0)


def test_photographs_take_the_place_of_a_board_and_keep_its_rules(run) -> None:
    rules = load_all(PARAMS)["faces"].source
    images(Path("photos"), 3)
    assert run("add", "faces.source", "photos", "--faces")[0] == 0
    found = load_all(PARAMS)["faces"].source
    assert isinstance(found, Photos) and found.paths == ("photos",)
    shared = {field.name for field in dataclasses.fields(rules)} - {"type"}
    assert all(getattr(found, name) == getattr(rules, name) for name in shared)
    # Another folder needs no `--faces` any more.
    images(Path("more"), 4)
    assert run("add", "faces.source", "more")[0] == 0
    assert load_all(PARAMS)["faces"].source == dataclasses.replace(
        found, paths=("more",), sha256=(hashing.sha256(Path("more")),)
    )


def test_photographs_take_the_place_of_a_merge(run) -> None:
    before = load_all(PARAMS)["anime"].source
    images(Path("photos"), 3)
    assert run("add", "anime.source", "photos", "--faces")[0] == 0
    found = load_all(PARAMS)["anime"].source
    assert isinstance(found, Photos)
    assert (found.paths, found.sha256) == (("photos",), (hashing.sha256(Path("photos")),))
    assert found.size == before.size and found.duplicate_bits == FACES["duplicate_bits"]


@pytest.mark.parametrize("faces", [["--faces"], []])
def test_files_that_cannot_be_opened_do_not_matter(run, faces: list[str]) -> None:
    folder = images(Path("photos"), 12)
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "huge.png").write_bytes(huge_png(20_000, 10_000))
    assert run("new", "one", str(folder), *faces)[0] == 0
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for file in sorted(folder.glob("[0-9]*.png")):
            archive.write(file, f"./{file.name}")
    damaged = bytearray(Path("photos.zip").read_bytes())
    damaged[200:260] = bytes(60)
    Path("photos.zip").write_bytes(damaged)
    assert run("new", "two", "photos.zip", *faces)[0] == 0


def test_archives_in_a_folder_may_have_the_photographs(run) -> None:
    Path("export").mkdir()
    shutil.make_archive("export/takeout", "zip", images(Path("photos"), 5))
    status, out, _ = run("new", "people", "export", "--faces")
    assert (status, out.splitlines()[0]) == (
        0,
        "people: 0 images, 1 archives in it, condition: none",
    )


def test_faces_that_cannot_be_are_one_line(run) -> None:
    before = PARAMS.read_bytes()
    Path("bare").mkdir()
    for words, said in (
        (("new", "people", "gone", "--faces"), "gone: no such file or folder"),
        (("new", "people", "bare", "--faces"), "bare: no image in it"),
        (("add", "iclevr.source", str(images(Path("photos"), 3)), "--faces"), "condition"),
        (("add", "evaluator.checkpoint", "photos", "--faces"), "--faces: is for a source"),
    ):
        status, _, err = run(*words)
        assert status == 1 and said in err and err.count("\n") == 1, err
    assert PARAMS.read_bytes() == before


ADDRESSES = [f"https://a.example/{n}.png" for n in range(40)]


def csv_with(column: str) -> Path:
    Path("shop.csv").write_text(f"{column},n\n" + "".join(f"{a},1\n" for a in ADDRESSES))
    return Path("shop.csv")


def text() -> Path:
    Path("shop.txt").write_text("\n".join(ADDRESSES))
    return Path("shop.txt")


def folder_of_tables() -> Path:
    Path("shop").mkdir()
    csv_with("url").rename("shop/0.csv")
    return Path("shop")


@pytest.mark.parametrize(
    ("make", "more", "column"),
    [
        (lambda: csv_with("url"), [], "url"),
        (lambda: csv_with("URL"), [], "URL"),
        (lambda: csv_with("where"), ["--column", "where"], "where"),
        (text, [], "url"),
        (folder_of_tables, [], "url"),
    ],
)
def test_a_table_of_addresses_becomes_a_workload(run, make, more: list[str], column: str) -> None:
    table = make()
    status, out, err = run("new", "goods", str(table), *more)
    assert (status, err) == (0, "")
    assert out.startswith("goods: 40 addresses, condition: none\nparams.yaml has it now")
    found = load_all(PARAMS)["goods"]
    assert (found.source.type, found.source.size, found.condition) == ("addresses", 64, "none")
    said = found.crawl
    assert (said.table, said.table_sha256) == (str(table), hashing.sha256(table))
    assert said.column == column
    # Another table, by the command that the error about a changed one names.
    Path("other.txt").write_text(ADDRESSES[0])
    assert run("add", "goods.crawl.table", "other.txt")[0] == 0
    assert load_all(PARAMS)["goods"].crawl.table == "other.txt"


@pytest.mark.parametrize(
    ("make", "more", "said"),
    [
        (lambda: csv_with("where"), [], "none of its columns ('where', 'n') is called url; name"),
        (
            lambda: csv_with("url"),
            ["--column", "x"],
            "no column 'x' (it has 'url', 'n'); see --c",
        ),
        (
            lambda: csv_with("url"),
            ["--column", "n"],
            "shop.csv: all of its rows have no addr",
        ),
        (text, ["--column", "n"], "--column: shop.txt is a text, which has none; leave it out"),
        (lambda: csv_with("url"), ["--faces"], "--faces: is for photographs, and shop.csv is a"),
        (lambda: flat(Path("look")), ["--column", "x"], "--column: is for tables, and look is"),
        (lambda: flat(Path("look")), ["--text", "x"], "--text: is for tables, and look is none"),
        (lambda: csv_with("url"), ["--text", "x"], "no column 'x' (it has 'url', 'n'); see --text"),
        (text, ["--text", "x"], "--text: shop.txt has addresses alone; leave it out"),
        (lambda: Path("no.csv"), [], "no.csv: no such file or folder; see crawl.table"),
    ],
)
def test_a_table_that_cannot_be_is_one_line(run, make, more: list[str], said: str) -> None:
    before = PARAMS.read_bytes()
    status, out, err = run("new", "goods", str(make()), *more)
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and said in err and err.count("\n") == 1
    assert PARAMS.read_bytes() == before


def test_a_source_of_addresses_wants_a_table(run) -> None:
    run("new", "goods", str(text()))
    document = PARAMS.read_text()
    PARAMS.write_text(document.replace("    table: shop.txt\n", "    table:\n"))
    status, _, err = run("params", "goods")
    assert status == 1
    assert "(goods): crawl.table: empty; name the table of addresses" in err


def test_a_table_with_sentences_becomes_one_with_prompts(run) -> None:
    rows = "".join(f'{address},"a thing, {n}"\n' for n, address in enumerate(ADDRESSES))
    Path("art.csv").write_text(f"URL,TEXT\n{rows}https://a.example/x.png,\n")
    status, out, err = run("new", "art", "art.csv", "--text", "TEXT")
    assert (status, err) == (0, "")
    assert out.startswith("art: 40 addresses, condition: prompts\n")
    found = load_all(PARAMS)["art"]
    assert (found.condition, found.source.type, found.source.size) == ("prompts", "addresses", 64)
    assert (found.crawl.column, found.crawl.text_column) == ("URL", "TEXT")
    document = PARAMS.read_text()
    PARAMS.write_text(document.replace("    text_column: TEXT\n", "    text_column:\n"))
    status, _, err = run("params", "art")
    assert status == 1 and "(art): crawl.text_column: the column with the sentences is for" in err


def test_a_table_is_no_source_of_another_type(run) -> None:
    before = PARAMS.read_bytes()
    status, _, err = run("add", "anime.source", str(text()))
    assert status == 1 and "shop.txt: is a table of addresses; `lockstep new NAME shop.txt`" in err
    assert PARAMS.read_bytes() == before


def captioned_archive() -> Path:
    for name in ("a", "b"):
        images(Path("look"), 1, ending=f"{name}.png")
    with zipfile.ZipFile("look.zip", "w") as archive:
        for file in sorted(Path("look").iterdir()):
            archive.write(file)
            archive.writestr(f"{file.with_suffix('.txt')}", "a thing")
    return Path("look.zip")


def splits_of_imagefolder() -> Path:
    for split in ("train", "test"):
        images(Path("look") / split, 3)
        rows = (json.dumps({"file_name": f"{n}.png", "text": "a thing"}) for n in range(3))
        Path("look", split, "metadata.jsonl").write_text("\n".join(rows))
    return Path("look")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (captioned_archive, "look.zip: sentences and labels (a .txt beside the images) are read"),
        (splits_of_imagefolder, "look/test/metadata.jsonl: has sentences for the images of its fo"),
    ],
)
def test_sentences_that_would_be_passed_over_are_told(run, make, said: str) -> None:
    status, out, err = run("new", "toys", str(make()))
    assert (status, out) == (1, "")
    assert said in err and err.count("\n") == 1


def test_a_table_of_labels_is_no_table_of_sentences(run) -> None:
    of_classes(Path("look"))
    Path("look/metadata.csv").write_text("file_name,label\ncat/0.png,cat\n")
    assert "condition: classes" in run("new", "pets", "look")[1]
