"""The anime heads from the archives to the metrics, as their user runs them: smoke preset."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from mlflow import MlflowClient
from PIL import Image

from conftest import Project, finish, ran, runs
from lockstep.data.dataset import SPLITS, open_dataset
from odd_files import by_opencv, by_pillow, encoded, head, others

pytestmark = pytest.mark.long

TARGET = "evaluate@anime"
COLLECTED = Path("data/collected/anime")


@pytest.fixture(scope="module")
def anime(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished pipeline. Each test leaves it whole."""
    return finish(tmp_path_factory.mktemp("anime") / "project", "anime")


def table(project: Project) -> list[dict[str, str]]:
    """What was decided on each file."""
    with (project.root / COLLECTED / "decisions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def back(project: Project) -> None:
    """To what was committed, out of the cache."""
    project.run("git", "checkout", ".")
    assert ran(project.dvc("repro", "dataset@anime").stdout) == []


def test_everything_is_there(anime: Project) -> None:
    names = [f"gen_{i:05d}.png" for i in range(20)]
    drawn = anime.root / "samples/anime"
    assert sorted(path.name for path in drawn.glob("*.png")) == names
    with Image.open(drawn / names[-1]) as image:
        assert image.size == (64, 64)
    plots, apart = anime.root / "plots/anime/sample", anime.root / "strips/anime"
    strips = {path.name for path in apart.glob("*.png")}
    assert strips == {f"{number}.png" for number in range(1, 17)}
    for name in ("images.png", "strip.png"):
        assert (plots / name).exists()
    with Image.open(apart / "denoising.gif") as animation:
        assert animation.n_frames > 1
    assert (anime.root / "models/anime/ema.safetensors").exists()

    merged, scored = anime.metrics("anime", "collect"), anime.metrics("anime", "evaluate")
    assert min(merged["precision"], merged["recall"]) > 0.9
    assert 0 < merged["kept"] < merged["found"]
    assert 0.25 <= anime.metrics("anime", "evaluator")["rotation_accuracy"] <= 1
    assert scored["n_generated"] == 20
    assert scored["n_reference"] <= merged["kept"]
    assert scored["fd_rotation"] > 0
    assert scored["swd"] > 0


def test_the_set_is_what_was_merged(anime: Project) -> None:
    data = open_dataset(anime.root / "data/dataset/anime")
    kept = int(anime.metrics("anime", "collect")["kept"])
    assert len(list((anime.root / COLLECTED / "images").iterdir())) == kept
    assert data.images.shape == (kept, 64, 64, 3)
    assert data.conditions.shape == (kept, 0)
    assert data.mirrorable
    assert all(len(data.indices(split)) for split in SPLITS)


def test_again_nothing_runs(anime: Project) -> None:
    assert ran(anime.dvc("repro", TARGET).stdout) == []
    assert anime.run("git", "status", "--porcelain").stdout == ""


def test_the_run_has_what_decided_it_and_what_came_out(anime: Project) -> None:
    (training,) = runs(anime, "training", "anime")
    (evaluation,) = runs(anime, "evaluation", "anime")
    for stage in ("collect", "evaluator", "evaluate"):
        assert anime.metrics("anime", stage).items() <= evaluation.data.metrics.items()
    found = evaluation.data.params
    assert found["source.synthetic_count"] == "60"
    for name in ("source.paths", "source.sha256", "source.duplicate_bits", "evaluator.epochs"):
        assert name in found
    assert training.data.params["autoencoder.kind"] == "kl"
    client = MlflowClient(f"sqlite:///{anime.root / 'mlflow.db'}")
    for run in (training, evaluation):
        shown = {file.path for file in client.list_artifacts(run.info.run_id, "evaluation")}
        assert {"evaluation/strips", "evaluation/denoising.gif", "evaluation/strip.png"} <= shown


def test_heads_can_be_drawn_from_the_command_line(anime: Project, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    anime.lockstep("sample", "anime", "--count", "4", "--out", str(out))
    with Image.open(out) as image:
        assert image.size == (4 * 66 - 2, 64)


def test_the_report_says_which_files_were_kept_and_why(anime: Project) -> None:
    anime.lockstep("report", "anime")
    text = (anime.root / "report/anime.html").read_text("utf-8")
    rows = {
        cells[0]: cells[1]
        for row in BeautifulSoup(text, "html.parser").select("#data tr")
        if (cells := [cell.get_text(strip=True) for cell in row.find_all(["td", "th"])])
    }
    decided = [row["decision"] for row in table(anime)]
    assert {"kept", "copy", "duplicate", "broken"} <= set(decided)
    for decision in set(decided):
        assert rows[decision] == str(decided.count(decision))


def test_what_is_excluded_is_gone_at_the_next_run(anime: Project) -> None:
    before = anime.metrics("anime", "collect")["kept"]
    one, other = [row for row in table(anime) if row["decision"] == "kept"][:2]
    anime.exclude(
        one["sha256"], f"{other['source']}:{other['path']}", "nobody", "synthetic/x.zip:1.png"
    )
    done = anime.dvc("repro", "dataset@anime")
    assert ran(done.stdout) == ["check", "collect@anime", "dataset@anime"]
    assert anime.metrics("anime", "collect")["kept"] == before - 2
    decisions = {row["sha256"]: row["decision"] for row in table(anime)}
    assert {decisions[row["sha256"]] for row in (one, other)} == {"excluded"}
    said = [line for line in done.stderr.splitlines() if line.startswith("exclude.txt")]
    assert said == ["exclude.txt: 'synthetic/x.zip:1.png' matches nothing among the merged files"]
    back(anime)


def files_of_ones_own() -> dict[str, bytes]:
    """Images in the usual formats and every mode, what is none, and an archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.webp", encoded(head(3000), "WEBP"))
        archive.writestr("../outside.png", encoded(head(3001)))
    usual = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
    given = {**by_pillow(usual), **by_opencv(), **others()}
    return {**given, "readme.txt": b"These are mine.\n", "more.zip": packed.getvalue()}


def test_a_folder_of_ones_own(anime: Project, tmp_path: Path) -> None:
    given = files_of_ones_own()
    for number, (name, data) in enumerate(given.items()):
        path = tmp_path / f"mine/{number % 3}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    switch = f"anime.source.paths=[{tmp_path / 'mine'}]"
    done = anime.dvc("exp", "run", "-S", switch, "dataset@anime")
    assert ran(done.stdout) == ["check", "collect@anime", "dataset@anime"]

    rows = {row["path"].split("/", 1)[1]: row for row in table(anime)}
    members = {"more.zip!/inside.webp", "more.zip!/../outside.png"}
    assert rows.keys() == (given.keys() - {"more.zip"}) | members
    for row in rows.values():
        assert row["decision"]
        assert bool(row["why"]) == (row["decision"] in ("refused", "broken"))
    expected = {
        "JPEG-RGB": "kept",
        "JPEG-CMYK": "kept",
        "PNG-P": "kept",
        "PNG-LA": "kept",
        "PNG-I16": "kept",
        "cv-u16.png": "kept",
        "TIFF-RGB": "kept",
        "BMP-RGB": "kept",
        "GIF-P": "kept",
        "turned.jpg": "kept",
        "more.zip!/inside.webp": "kept",
        "more.zip!/../outside.png": "refused",
        "truncated.jpg": "broken",
        "empty.png": "broken",
        "readme.txt": "broken",
        "one pixel.png": "small",
        "strip.png": "aspect",
        "blank.png": "blank",
    }
    assert {name: rows[name]["decision"] for name in expected} == expected

    # Those that were kept are the set, in their order; there is no truth about them.
    kept = sorted(int(row["number"]) for row in rows.values() if row["decision"] == "kept")
    assert kept == list(range(1, len(kept) + 1))
    assert anime.metrics("anime", "collect") == {"kept": len(kept), "found": len(rows)}
    data = open_dataset(anime.root / "data/dataset/anime")
    images = sorted((anime.root / COLLECTED / "images").iterdir(), key=lambda path: int(path.stem))
    assert len(data.images) == len(images) == len(kept)
    as_packed = {image.tobytes() for image in data.images}
    as_merged = set()
    for path in images:
        with Image.open(path) as image:
            as_merged.add(np.asarray(image).tobytes())
    assert as_packed == as_merged
    back(anime)
