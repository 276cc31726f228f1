"""Classes by the folders that images lie in: from a folder and from an archive."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.classes import check_names, classes_of
from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError
from lockstep.sources import class_folder, image_folder
from lockstep.sources.registry import source_of
from odd_files import encoded, head
from tiny import ROOT

GIVEN = {"cat/1.png": 1, "cat/2.png": 2, "dog/1.png": 3, "dog/2.png": 4, "dog/old/3.png": 5}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to collect in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(image_folder, "cores", lambda: 1)
    (tmp_path / "exclude.txt").touch()
    return tmp_path


def params_for(path: Path) -> Params:
    committed = load_params("anime", ROOT / "params.yaml")
    source = dataclasses.replace(committed.source, paths=(str(path),), size=64)
    return dataclasses.replace(committed, source=source, condition="classes")


def written(folder: Path, given: dict[str, int]) -> Path:
    for name, number in given.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(head(number), "PNG"))
    return folder


def collected(here: Path, params: Params) -> class_folder.Collected:
    out = here / "out"
    out.mkdir()
    assert source_of(params) is class_folder
    class_folder.collect(params, out)
    return class_folder.read(out)


@pytest.mark.parametrize("packed", [False, True])
def test_each_image_has_the_class_of_its_folder(here: Path, packed: bool) -> None:
    path = written(here / "own", GIVEN)
    if packed:
        path = here / "own.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, number in GIVEN.items():
                archive.writestr(f"pets/images/{name}", encoded(head(number), "PNG"))
    found = collected(here, params_for(path))
    assert list(found.names) == ["cat", "dog"]
    assert found.conditions.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]
    assert found.mirrorable
    assert len(set(found.groups)) == 5


def test_a_copy_in_another_class_is_left_out(here: Path) -> None:
    found = collected(here, params_for(written(here / "own", {**GIVEN, "dog/copy.png": 1})))
    assert found.conditions.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"1.png": 1, "2.png": 2}, "its images lie in one folder; give each class one"),
        ({"cat/1.png": 1, "cat/2.png": 2}, "its images lie in one folder; give each class one"),
        ({**GIVEN, "6.png": 6}, "6.png: lies beside the folders of the classes; move it into one"),
        ({**GIVEN, "owl/1.png": 6}, "the class 'owl' has 1 usable images of 1; add some"),
        ({**GIVEN, "owl/1.png": 1, "owl/2.png": 2}, "the class 'owl' has 0 usable images of 2"),
        ({**GIVEN, "Cat/1.png": 6, "Cat/2.png": 7}, "the classes 'Cat' and 'cat' differ in case"),
    ],
)
def test_what_cannot_be_told_apart_is_one_line(
    here: Path, given: dict[str, int], message: str
) -> None:
    with pytest.raises(LockstepError) as caught:
        collected(here, params_for(written(here / "own", given)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.lists(st.sampled_from(["cat", "dog", "owl"]), min_size=2).filter(lambda c: len(set(c)) > 1),
    st.lists(st.sampled_from(["a", "b"]), max_size=3),
)
def test_folders_around_the_classes_change_nothing(classes: list[str], above: list[str]) -> None:
    paths = ["/".join([*above, name, f"{i}.png"]) for i, name in enumerate(classes)]
    assert classes_of(paths) == classes


def test_no_class_without_folders() -> None:
    assert classes_of([]) is None
    assert classes_of(["a.png", "b.png"]) is None
    assert classes_of(["x/a.png", "x/b.png"]) is None
    check_names(["cat", "dog", "cat"])
