"""Images of one's own as further workloads, by `lockstep new` and real `dvc repro`."""

from __future__ import annotations

import csv
import difflib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import yaml
from PIL import Image
from pyarrow import parquet

from conftest import Project, checkout, commit, ran, runs
from lockstep.synthetic.portraits import image as portrait

pytestmark = pytest.mark.long

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 220)}
# What makes them end in seconds; what they are stays as `lockstep new` has written it.
SMALL = {
    "evaluator": {"epochs": 1},
    "autoencoder": {"steps": 5},
    "text": {"width": 16, "heads": 2},
    "model": {
        "channels": [16, 16],
        "attention": [False, False],
        "attention_head_dim": 8,
        "norm_groups": 4,
        "patch": 4,
    },
    "train": {"steps": 10, "warmup_steps": 2, "log_every": 5, "validate_every": 5},
    "sample": {"steps": 3, "count": 12},
}


def write_image(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """A block of a colour somewhere on grey, so that no two images are alike."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 150, (72, 80, 3)).astype(np.uint8)
    top, left, side = rng.integers(4, 30), rng.integers(4, 30), rng.integers(20, 36)
    pixels[top : top + side, left : left + side] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with four more workloads, each run to its evaluation; leave it whole."""
    own = tmp_path_factory.mktemp("own")
    prompts = {}
    for number in range(60):
        name, colour = list(COLOURS.items())[number % 3]
        write_image(own / f"flat/{number}.png", colour, number)
        write_image(own / f"classes/{name}/{number}.jpg", colour, 100 + number)
        write_image(own / f"captions/{number}.png", colour, 200 + number)
        prompts[f"{number}.png"] = f"a {name} block"
        write_image(own / f"photos/2024/{number}.png", colour, 300 + number)
    for number in range(40):
        (own / f"photos/{number}.jpg").write_bytes(portrait(number).data)
    images = [
        {"image": {"bytes": path.read_bytes(), "path": path.name}}
        for path in sorted((own / "flat").iterdir())
    ]
    parquet.write_table(pyarrow.Table.from_pylist(images), own / "flat.parquet")
    (own / "captions/train_info.json").write_text(json.dumps(prompts), "utf-8")
    (own / "captions/test.json").write_text(json.dumps(["a red block", "a blue block"]), "utf-8")

    project = checkout(tmp_path_factory.mktemp("new") / "project")
    commit(project, "as it is")
    before = (project.root / "params.yaml").read_text("utf-8")
    said = [
        project.lockstep("new", name, str(own / folder)).stdout
        for name, folder in (
            ("fifth", "flat.parquet"),
            ("sixth", "classes"),
            ("seventh", "captions"),
        )
    ]
    said.append(project.lockstep("new", "eighth", str(own / "photos"), "--faces").stdout)
    for line, condition in zip(said, ("none", "classes", "prompts", "none"), strict=True):
        assert f"condition: {condition}" in line
        assert "dvc repro evaluate@" in line
    # The difference is the list's entries and the sections, and nothing else of the checkout.
    lines = list(
        difflib.ndiff(before.splitlines(), (project.root / "params.yaml").read_text().splitlines())
    )
    assert not [line for line in lines if line.startswith("- ")]
    assert project.run("git", "status", "--porcelain").stdout == " M params.yaml\n"

    path = project.root / "params.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    for name in ("fifth", "sixth", "seventh", "eighth"):
        for section, values in SMALL.items():
            document[name][section] = {**document[name][section], **values}
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    commit(project, "small")
    targets = [f"evaluate@{name}" for name in ("fifth", "sixth", "seventh", "eighth")]
    project.dvc("repro", *targets, "sweep@sixth")
    commit(project, "results")
    return project


def test_a_parquet_file(project: Project) -> None:
    assert project.metrics("fifth", "collect") == {"kept": 60, "found": 60}
    scored = project.metrics("fifth", "evaluate")
    assert scored["n_generated"] == 12
    assert {"fd_rotation", "swd", "copies"} <= scored.keys()
    assert len(list((project.root / "samples/fifth").glob("*.png"))) == 12


def test_a_folder_with_three_classes(project: Project) -> None:
    root = project.root
    assert json.loads((root / "models/sixth/names.json").read_text()) == {
        "blue": 0,
        "green": 1,
        "red": 2,
    }
    assert {"accuracy_test", "exact_match_test", "fd_classifier"} <= project.metrics(
        "sixth", "evaluate"
    ).keys()
    rows = (root / "tables/sixth/evaluate/objects.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["blue", "green", "red"]
    assert project.metrics("sixth", "sweep")["best_guidance_scale"] in (1.0, 2.0, 4.0, 7.0)
    with Image.open(root / "plots/sixth/sample/test.png") as grid:
        assert grid.size == (3 * 66 - 2, 4 * 66 - 2)  # a column for each class
    out = root / "red.png"
    project.lockstep("sample", "sixth", "red", "--count", "2", "--out", str(out))
    with Image.open(out) as image:
        assert image.size == (2 * 66 - 2, 64)
    out.unlink()
    done = project.lockstep("sample", "sixth", "pink", check=False)
    assert done.stderr == "error: unknown name 'pink'; choose from blue, green, red\n"


def test_a_folder_with_captions(project: Project) -> None:
    names = sorted(path.name for path in (project.root / "samples/seventh/images").iterdir())
    assert names == ["0.png", "1.png"]
    assert "fd_rotation" in project.metrics("seventh", "evaluate")


def test_a_folder_of_photographs(project: Project) -> None:
    found = project.metrics("eighth", "collect")
    assert 10 <= found["kept"] < found["found"]
    with (project.root / "data/collected/eighth/decisions.csv").open(encoding="utf-8") as file:
        decisions = Counter(row["decision"] for row in csv.DictReader(file))
    assert decisions["faceless"] >= 60 and decisions["kept"] == found["kept"]
    assert "fd_dlib" in project.metrics("eighth", "evaluate")


def test_again_nothing_runs_and_each_has_its_runs_and_report(project: Project) -> None:
    names = ("fifth", "sixth", "seventh", "eighth")
    again = project.dvc("repro", *(f"evaluate@{name}" for name in names), "sweep@sixth")
    assert ran(again.stdout) == []
    for name in names:
        assert len(runs(project, "training", name)) == 1
        project.lockstep("report", name, "--out", str(project.root.parent / f"{name}.html"))
