"""Captions from the drawn scenes to the metrics, as their user runs them: smoke preset."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from mlflow import MlflowClient
from PIL import Image

from conftest import Project, finish, ran, runs
from lockstep import cli
from lockstep.data import captions as files
from lockstep.data.captions import distinct_prompts
from lockstep.data.dataset import SPLITS, Dataset, open_dataset
from lockstep.models import generator
from lockstep.sampling.sample import load

pytestmark = pytest.mark.long

TARGET = "evaluate@captions"
SWEEP = "sweep@captions"
ACCURACIES = ("object_accuracy", "binding_accuracy", "relation_accuracy", "size_accuracy")
PROMPT = "a red cube and a blue sphere"
GRID = (4 * 66 - 2, 64)
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 220)}


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished pipeline. Each test leaves it whole."""
    return finish(tmp_path_factory.mktemp("captions") / "project", "captions")


def packed(project: Project) -> Dataset:
    root = project.root
    return open_dataset(root / "data/dataset/captions", root / "data/encoded/captions")


def back(project: Project) -> None:
    """To what was committed, out of the cache."""
    project.run("git", "checkout", ".")
    project.run("git", "clean", "--quiet", "--force", "metrics")
    assert ran(project.dvc("repro", TARGET).stdout) == []


def test_everything_is_there(captions: Project) -> None:
    asked = files.read_test(captions.root / "data/dataset/captions/test.json")
    assert len(asked) == 64
    drawn = captions.root / "samples/captions/images"
    assert {path.name for path in drawn.iterdir()} == {f"{name}.png" for name in asked}
    with Image.open(drawn / "new_relation_11.png") as image:
        assert image.size == (64, 64)
    plots, apart = captions.root / "plots/captions/sample", captions.root / "strips/captions"
    strips = {path.name for path in apart.glob("*.png")}
    assert strips == {f"{number}.png" for number in range(1, 17)}
    for name in ("test.png", "strip.png"):
        assert (plots / name).exists()
    with Image.open(apart / "denoising.gif") as animation:
        assert animation.n_frames > 1
    with Image.open(captions.root / "autoencoders/captions/reconstructions.png") as sheet:
        assert sheet.height == 2 * 66 - 2  # images, and below them what they are decoded to

    assert 0 < captions.metrics("captions", "autoencoder")["psnr"] < 60
    assert "evaluator_accuracy" in captions.metrics("captions", "evaluator")
    scored = captions.metrics("captions", "evaluate")
    assert set(ACCURACIES) <= scored.keys()
    # 16 prompts name one of 24 objects, 48 name two.
    chance = (16 * 1 + 48 * 4) / 24 / (16 + 48 * 2)
    assert scored["object_accuracy_chance"] == pytest.approx(chance)
    assert scored["n_generated"] == 64
    assert scored["fd_classifier"] > 0
    assert scored["swd"] > 0


def test_what_is_encoded_is_the_set(captions: Project) -> None:
    data = packed(captions)
    data.verify()
    assert data.images.shape == (120, 64, 64, 3)
    assert data.latents is not None
    assert data.latents.shape == (120, 4, 16, 16)
    assert data.rows is not None
    assert data.conditions.max() == len(data.rows) - 1
    assert not data.rows[0].any()  # the empty prompt
    assert not data.mirrorable  # prompts speak of left and right
    assert all(len(data.indices(split)) for split in SPLITS)
    assert (captions.root / "data/encoded/captions/tokenizer.json").exists()


def test_the_model_draws_without_anything_else(captions: Project, tmp_path: Path) -> None:
    folder = captions.root / "models/captions"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"ema.safetensors", "model.json", "autoencoder.json", "tokenizer.json"}
    for tool in ("autoencoder.safetensors", "tokenizer.json"):
        encoded = captions.root / "data/encoded/captions" / tool
        assert (folder / tool).read_bytes() == encoded.read_bytes()
    trained = load(folder, "ema")
    assert (trained.autoencoder.channels, trained.autoencoder.reduction) == (4, 4)
    assert generator.describe(folder).shape == (4, 16, 16)


def test_again_nothing_runs(captions: Project) -> None:
    assert ran(captions.dvc("repro", TARGET).stdout) == []
    assert captions.run("git", "status", "--porcelain").stdout == ""


def test_the_run_has_what_decided_it_and_what_came_out(captions: Project) -> None:
    (training,) = runs(captions, "training", "captions")
    (evaluation,) = runs(captions, "evaluation", "captions")
    for stage in ("autoencoder", "evaluator", "evaluate"):
        assert captions.metrics("captions", stage).items() <= evaluation.data.metrics.items()
    for run in (training, evaluation):
        found = run.data.params
        assert found["autoencoder.kind"] == "kl"
        assert found["text.width"] == "16"
        for name in ("autoencoder.latent_channels", "text.encoder", "text.forget", "source.count"):
            assert name in found
    client = MlflowClient(f"sqlite:///{captions.root / 'mlflow.db'}")
    for run in (training, evaluation):
        shown = {file.path for file in client.list_artifacts(run.info.run_id, "evaluation")}
        assert {"evaluation/strips", "evaluation/denoising.gif", "evaluation/test.png"} <= shown


def test_the_report_has_prompts_and_metrics(captions: Project) -> None:
    captions.lockstep("report", "captions")
    page = BeautifulSoup((captions.root / "report/captions.html").read_text("utf-8"), "html.parser")
    text = "".join(page.get_text().split())  # names may break after their underscores
    for name in (
        "psnr",
        "evaluator_accuracy",
        "object_accuracy",
        "binding_accuracy",
        "fd_classifier",
    ):
        assert name in text
    asked = files.read_test(captions.root / "data/dataset/captions/test.json")
    assert asked["relation_03"].replace(" ", "") in text
    assert {"single", "pair", "new_pair", "relation", "new_relation"} <= {
        cell.get_text(strip=True) for cell in page.find_all(["td", "th"])
    }


def test_a_sweep_is_drawn_scored_and_recorded(captions: Project) -> None:
    assert ran(captions.dvc("repro", SWEEP).stdout) == [SWEEP]
    best = captions.metrics("captions", "sweep")
    assert best.keys() == {f"best_{name}" for name in ("guidance_scale", *ACCURACIES[:3])}
    (training,) = runs(captions, "training", "captions")
    (sweep,) = runs(captions, "sweep", "captions")
    points = runs(captions, "sweep point", "captions")
    assert sweep.data.tags["mlflow.parentRunId"] == training.info.run_id
    assert best.items() <= sweep.data.metrics.items()
    # Two guidance scales, one sampler with one number of steps, and another setting.
    assert len(points) == 4
    for point in points:
        wanted = {*ACCURACIES[:3], "evaluations", "fd_classifier", "seconds_per_image"}
        assert point.data.metrics.keys() == wanted
    back(captions)


def drawn(project: Project, out: Path, seed: int) -> bytes:
    settings = ("--count", "4", "--steps", "3", "--guidance", "2", "--seed", str(seed))
    project.lockstep("sample", "captions", PROMPT, *settings, "--out", str(out))
    with Image.open(out) as image:
        assert image.size == GRID
        return image.tobytes()


def test_a_sentence_is_drawn_from_the_command_line(captions: Project, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    first = drawn(captions, out, seed=1)
    assert drawn(captions, out, seed=1) == first
    assert drawn(captions, out, seed=2) != first


@pytest.mark.parametrize(
    ("prompt", "warning"),
    [
        (PROMPT, ""),
        ("", ""),
        ("a red zebra", "not among the training's words: zebra\n"),
        ("紅色, 立方", "not among the training's words: 紅, 色, 立, 方\n"),
        ("a red cube 🎲", "not among the training's words: 🎲\n"),
        ("red " * 500, "the prompt is too long: its last 484 words are left out\n"),
    ],
)
def test_any_prompt_is_drawn_and_said_what_is_not_read(
    captions: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prompt: str,
    warning: str,
) -> None:
    monkeypatch.chdir(captions.root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    out = str(tmp_path / "x.png")
    command = ["lockstep", "sample", "captions", prompt, "--count", "4", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", out])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert capsys.readouterr().err == warning
    with Image.open(out) as image:
        assert image.size == GRID


def test_another_guidance_scale_draws_again_and_trains_nothing(captions: Project) -> None:
    path = captions.root / "params.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    document["captions"]["sample"]["guidance_scale"] = 1.5
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    # Before anything is drawn DVC cannot know that there will be something to evaluate.
    assert ran(captions.dvc("repro", "--dry", TARGET).stdout) == ["check", "sample@captions"]
    captions.run("git", "checkout", ".")


def test_another_width_of_the_text_encoder_trains_again(captions: Project) -> None:
    """`encode` reads all of `text`, so it runs too; what it gives is the same."""
    before = packed(captions).digest
    model = generator.describe(captions.root / "models/captions")
    done = captions.dvc("exp", "run", "-S", "captions.text.width=24", "train@captions")
    assert ran(done.stdout) == ["check", "encode@captions", "train@captions"]
    assert packed(captions).digest == before
    after = generator.describe(captions.root / "models/captions")
    assert after.fingerprint != model.fingerprint
    assert after.unet.cross_attention_dim == 24
    back(captions)


def write_own(folder: Path, *, listed: bool) -> None:
    """Plain images of several sizes and formats, each with the name of its colour."""
    (folder / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    prompts = {}
    for number in range(60):
        colour = list(COLOURS)[number % len(COLOURS)]
        noise = rng.integers(-30, 30, (70 + number, 90, 3))
        pixels = (np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)
        name = f"{number:02d}.{'png' if number % 2 else 'jpg'}"
        Image.fromarray(pixels).save(folder / "photos" / name)
        prompts[name] = f"a {colour} wall"
    rows: Any = {name: {"text_prompt": prompt} for name, prompt in prompts.items()}
    if listed:
        rows = [{"file_name": name, **row} for name, row in rows.items()]
    (folder / "train_info.json").write_text(json.dumps(rows), "utf-8")
    asked = [f"a {colour} wall" for colour in COLOURS]
    (folder / "test.json").write_text(json.dumps(asked), "utf-8")


def test_a_folder_of_ones_own(captions: Project, tmp_path: Path) -> None:
    write_own(tmp_path / "listed", listed=True)
    captions.lockstep("add", "captions.source", str(tmp_path / "listed"))
    done = captions.dvc("repro", TARGET)
    made = ran(done.stdout)
    assert made[:4] == ["check", "crawl@captions", "collect@captions", "dataset@captions"]
    assert "sample@captions" in made
    assert made[-1] == TARGET
    images = captions.root / "samples/captions/images"
    assert {path.name for path in images.iterdir()} == {"0.png", "1.png", "2.png"}
    # Nobody knows what these images show: no accuracy, and eyes that learnt of them alone.
    assert "rotation_accuracy" in captions.metrics("captions", "evaluator")
    scored = captions.metrics("captions", "evaluate")
    assert scored["fd_rotation"] >= 0
    assert scored["swd"] > 0
    assert scored["n_generated"] == 3
    assert not [name for name in scored if "accuracy" in name or name == "fd_classifier"]
    assert ran(captions.dvc("repro", TARGET).stdout) == []
    assert ran(captions.dvc("repro", SWEEP).stdout) == [SWEEP]
    best = captions.metrics("captions", "sweep")
    assert best.keys() == {"best_guidance_scale", "best_fd_rotation"}
    tables = {path.name for path in (captions.root / "tables/captions/sweep").glob("*.csv")}
    assert tables == {"guidance.csv", "samplers.csv", "settings.csv", "steps_distance.csv"}

    # The other form of the same file is the same set.
    folder = captions.root / "data/dataset/captions"
    digest, prompts = open_dataset(folder).digest, distinct_prompts(folder)
    write_own(tmp_path / "mapped", listed=False)
    captions.lockstep("add", "captions.source", str(tmp_path / "mapped"))
    assert ran(captions.dvc("repro", "dataset@captions").stdout)[:2] == [
        "check",
        "collect@captions",
    ]
    assert (open_dataset(folder).digest, distinct_prompts(folder)) == (digest, prompts)
    back(captions)


def test_a_folder_with_a_mistake_ends_in_one_line(captions: Project, tmp_path: Path) -> None:
    folder = tmp_path / "wrong"
    write_own(folder, listed=True)
    path = folder / "train_info.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace("text_prompt", "text_promt", 1), "utf-8")
    done = captions.lockstep("add", "captions.source", str(folder), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: [0]: unknown key 'text_promt'; a row has file")
    assert captions.run("git", "status", "--porcelain").stdout == ""

    # Changed after it was added.
    path.write_text(text, "utf-8")
    captions.lockstep("add", "captions.source", str(folder))
    path.write_text(text.replace("red", "pink"), "utf-8")
    done = captions.dvc("repro", TARGET, check=False)
    assert done.returncode != 0
    assert ran(done.stdout)[-1] == "collect@captions"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {folder}: captions.source is not what params.yaml says")
    back(captions)
