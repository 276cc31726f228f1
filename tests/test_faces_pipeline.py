"""The faces from the crawl to the metrics, as their user runs them: on their smoke preset."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Project, finish, ran, runs
from lockstep.data.dataset import SPLITS, open_dataset

pytestmark = pytest.mark.long

TARGET = "evaluate@faces"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished pipeline. Each test leaves it whole."""
    return finish(tmp_path_factory.mktemp("faces") / "project", "faces")


def test_everything_is_there(faces: Project) -> None:
    names = [f"gen_{i:05d}.png" for i in range(20)]
    drawn = faces.root / "samples/faces"
    assert sorted(path.name for path in drawn.glob("*.png")) == names
    with Image.open(drawn / names[-1]) as image:
        assert image.size == (64, 64)
    for name in ("images.png", "strip.png"):
        assert (faces.root / "plots/faces/sample" / name).exists()
    assert (faces.root / "models/faces/ema.safetensors").exists()

    cropped, scored = faces.metrics("faces", "collect"), faces.metrics("faces", "evaluate")
    assert min(cropped["precision"], cropped["recall"]) > 0.9
    assert 0 < cropped["kept"] < cropped["found"]
    assert scored["n_generated"] == 20
    assert scored["n_reference"] <= cropped["kept"]
    assert scored["fd_dlib"] > 0
    assert scored["swd"] > 0


def test_the_faces_of_a_image_stay_together(faces: Project) -> None:
    data = open_dataset(faces.root / "data/dataset/faces")
    crops = sorted((faces.root / "data/collected/faces/crops").iterdir())
    assert len(data.images) == len(crops)
    assert data.conditions.shape == (len(crops), 0)
    assert data.mirrorable
    images = [path.stem.rpartition("_")[0] for path in crops]
    of_split = [{images[i] for i in data.indices(split)} for split in SPLITS]
    assert sum(map(len, of_split)) == len(set(images))
    assert of_split[0] and of_split[1]
    with Image.open(crops[7]) as crop:
        assert np.array_equal(data.images[7], np.asarray(crop))


def test_again_nothing_runs(faces: Project) -> None:
    assert ran(faces.dvc("repro", TARGET).stdout) == []
    assert faces.run("git", "status", "--porcelain").stdout == ""


def test_the_run_has_what_decided_it_and_what_came_out(faces: Project) -> None:
    (training,) = runs(faces, "training", "faces")
    (evaluation,) = runs(faces, "evaluation", "faces")
    for stage in ("collect", "evaluate"):
        assert faces.metrics("faces", stage).items() <= evaluation.data.metrics.items()
    found = evaluation.data.params
    for name in ("crawl.source", "download.max_bytes", "source.min_box", "evaluator.sha256"):
        assert name in found
    assert "crawl.delay" not in found
    assert training.data.params["train.flip"] == "true"


def test_faces_can_be_drawn_from_the_command_line(faces: Project, tmp_path: Path) -> None:
    out = tmp_path / "faces.png"
    faces.lockstep("sample", "faces", "--count", "16", "--out", str(out))
    with Image.open(out) as image:
        assert image.size == (8 * 66 - 2, 2 * 66 - 2)
    done = faces.lockstep("sample", "faces", "red cube", check=False)
    assert done.returncode == 1
    assert done.stderr == "error: models/faces: takes no condition; leave 'red cube' out\n"


def test_what_is_excluded_is_gone_at_the_next_run(faces: Project) -> None:
    table = faces.root / "data/collected/faces/decisions.csv"
    with table.open(newline="") as file:
        image = next(row["image"] for row in csv.DictReader(file) if row["decision"] == "kept")
    before = faces.metrics("faces", "collect")["kept"]
    faces.exclude(image)
    done = faces.dvc("repro", "dataset@faces")
    assert ran(done.stdout) == ["check", "collect@faces", "dataset@faces"]
    assert faces.metrics("faces", "collect")["kept"] < before
    assert not list((faces.root / "data/collected/faces/crops").glob(f"{image}*"))
    faces.run("git", "checkout", ".")
    assert ran(faces.dvc("repro", "dataset@faces").stdout) == []  # back out of the cache
