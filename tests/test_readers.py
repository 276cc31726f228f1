"""What sources have collected, as it is packed; and what their models are to generate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lockstep.config.load import load_params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.sampling.conditions import condition_of
from lockstep.sources import iclevr, image_folder, ptt_faces
from tiny import ROOT

OBJECTS = {"red cube": 0, "red sphere": 1, "cyan cube": 2}


def labelled(folder: Path, objects: dict[str, int]) -> Path:
    names = list(objects)
    folder.mkdir(parents=True)
    files = {
        "objects": objects,
        "train": {"b_0_1.png": names[:2], "b_0_0.png": names[:1], "a_3_0.png": names[2:]},
        "test": [names[:1], names[1:]],
        "new_test": [names[::2]],
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content) + "\n")
    return folder


def test_images_with_labels(tmp_path: Path) -> None:
    found = iclevr.read(labelled(tmp_path / "x", OBJECTS))
    assert [path.name for path in found.images] == ["a_3_0.png", "b_0_0.png", "b_0_1.png"]
    assert found.groups == ["a_3", "b_0", "b_0"]
    assert found.conditions.tolist() == [[0, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert found.mirrorable
    assert found.names == list(OBJECTS)
    assert {path.name for path in found.carried} == {"objects.json", "test.json", "new_test.json"}
    sided = {"cube on the left": 0, "sphere": 1, "cone": 2}
    assert not iclevr.read(labelled(tmp_path / "y", sided)).mirrorable


def test_faces(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match=r"crops: no faces; `dvc repro collect`"):
        ptt_faces.read(tmp_path)
    (tmp_path / "crops").mkdir()
    for name in ("b_0", "a_10", "a_2"):
        (tmp_path / f"crops/{name}.png").touch()
    found = ptt_faces.read(tmp_path)
    assert [path.stem for path in found.images] == ["a_10", "a_2", "b_0"]
    assert found.groups == ["a", "a", "b"]
    assert found.conditions.shape == (3, 0)
    assert found.mirrorable


def test_merged_images(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match=r"images: no images; `dvc repro collect`"):
        image_folder.read(tmp_path)
    (tmp_path / "images").mkdir()
    for name in (10, 2, 1):
        (tmp_path / f"images/{name}.png").touch()
    found = image_folder.read(tmp_path)
    assert [path.stem for path in found.images] == ["1", "2", "10"]
    assert found.groups == ["1", "2", "10"]
    assert found.conditions.shape == (3, 0)
    assert found.mirrorable


def test_what_labels_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = load_params("iclevr", ROOT / "params.yaml")
    labelled(paths.dataset("iclevr"), OBJECTS)
    targets = condition_of(found).targets(found)
    test, new_test = targets.sets
    assert (test.name, new_test.name) == ("test", "new_test")
    assert test.conditions.values.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert test.files[1] == "images/test/1.png"
    assert targets.strips.values.tolist() == [
        [1, 0, 0]
    ]  # "cyan cylinder" is not there: the first set
    assert targets.exactly


def test_without_labels_images_are_counted_and_written_as_they_come(tmp_path: Path) -> None:
    found = load_params("faces", ROOT / "params.yaml")
    targets = condition_of(found).targets(found)
    (wanted,) = targets.sets
    assert wanted.conditions.values.shape == (found.sample.count, 0)
    assert targets.strips.values.shape[1] == 0
    drawn = torch.rand(70, 3, 4, 4) * 2 - 1
    kept = wanted.write(tmp_path, [(0, drawn[:30]), (30, drawn[30:66]), (66, drawn[66:])])
    assert torch.equal(kept, drawn[:64])
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"gen_{i:05d}.png" for i in range(70)]


def test_the_split_keeps_its_conditions_empty(tmp_path: Path) -> None:
    from lockstep.data import dataset

    images = np.zeros((5, 8, 8, 3), np.uint8)
    conditions = np.zeros((5, 0), np.uint8)
    dataset.pack(tmp_path, iter(images), conditions, np.zeros(5, np.uint8), {}, mirrorable=True)
    assert dataset.open_dataset(tmp_path).conditions.shape == (5, 0)
