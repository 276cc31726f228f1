"""The pipeline as its user runs it: real `dvc repro` and `dvc exp run` on the smoke preset."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image

from conftest import Project, checkout, commit, copied, ran, runs
from lockstep.data.dataset import open_dataset
from lockstep.data.labels import PROMPT_FILES, read_labels, read_objects, read_prompts, scene_of

TARGET = "evaluate@iclevr"
SWEEP = "sweep@iclevr"


def lock(project: Project) -> dict:
    return yaml.safe_load((project.root / "dvc.lock").read_text("utf-8"))["stages"]


def test_everything_is_there(finished: Project) -> None:
    root = finished.root
    for name in PROMPT_FILES:
        prompts = json.loads((root / f"data/dataset/iclevr/{name}.json").read_text())
        folder = root / "samples/iclevr/images" / name
        assert sorted(p.name for p in folder.iterdir()) == sorted(
            f"{i}.png" for i in range(len(prompts))
        )
        assert (root / f"plots/iclevr/sample/{name}.png").exists()
    metrics = json.loads((root / "metrics/iclevr/evaluate.json").read_text())
    for name in PROMPT_FILES:
        for metric in ("accuracy", "accuracy_png", "exact_match", "false_objects"):
            assert isinstance(metrics[f"{metric}_{name}"], float)
    train = json.loads((root / "metrics/iclevr/train.json").read_text())
    assert train["steps"] == 20
    assert (root / "models/iclevr/ema.safetensors").exists()


def test_new_combinations_and_the_evaluators_scenes_are_kept_from_the_generator(
    finished: Project,
) -> None:
    folder = finished.root / "data/dataset/iclevr"
    data = open_dataset(folder)
    objects = read_objects(folder / "objects.json")
    trained = data.conditions[data.indices("train")]
    for names in read_prompts(folder / "new_test.json", objects):
        ids = [objects[name] for name in names]
        assert not trained[:, ids].all(1).any(), f"{names} occurs in a training image"

    labels = read_labels(finished.root / "data/collected/iclevr")
    scenes = [scene_of(name) for name in sorted(labels.train)]
    of_split = {
        split: {scenes[i] for i in data.indices(split)}
        for split in ("train", "validation", "evaluator_train", "evaluator_validation")
    }
    for split, members in of_split.items():
        assert members, f"no scene in {split}"
        others = set().union(*(m for s, m in of_split.items() if s != split))
        assert not members & others


def test_again_nothing_runs(project: Project) -> None:
    again = project.dvc("repro", TARGET, SWEEP)
    assert ran(again.stdout) == []
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_what_a_person_says_of_the_images_trains_nothing_anew(project: Project) -> None:
    project.set(license="cc0-1.0")
    again = project.dvc("repro", TARGET, SWEEP)
    assert ran(again.stdout) == ["check", "collect@iclevr", "dataset@iclevr"]
    card = (project.root / "data/collected/iclevr/card.md").read_text("utf-8")
    assert "license: cc0-1.0" in card and "| licence | cc0-1.0 |" in card


def edit(project: Project, module: str, old: str, new: str) -> None:
    """Change the code of a project."""
    path = project.root / "src/lockstep" / module
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def test_other_words_in_the_code_run_the_check_alone(project: Project) -> None:
    edit(project, "core/files.py", '"""Files and', '"""Once more: files and')
    edit(project, "diffusion/samplers.py", "def ddim(", "# A remark.\ndef ddim(")
    edit(project, "core/images.py", "not a readable image", "no image that can be read")
    script = project.root / "stages/train.py"
    script.write_text(script.read_text("utf-8").replace('"""Train', '"""Once more: train', 1))
    assert ran(project.dvc("repro", TARGET, SWEEP).stdout) == ["check"]
    assert project.run("git", "status", "--porcelain", "metrics").stdout == ""


@pytest.mark.long
def test_another_sampler_runs_what_samples_and_what_follows(project: Project) -> None:
    last = "previous = x0, half_log_snr\n    return "
    edit(project, "diffusion/samplers.py", f"{last}x\n", f"{last}0.9 * x\n")
    stages = ran(project.dvc("repro", TARGET, SWEEP).stdout)
    assert stages[0] == "check"
    assert sorted(stages[1:]) == ["evaluate@iclevr", "sample@iclevr", "sweep@iclevr"]


def test_a_stage_refuses_code_that_was_not_digested(project: Project) -> None:
    """As where a file is edited while `dvc repro` runs."""
    before = outputs(project)
    edit(
        project,
        "training/ema.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nX = 1\n",
    )
    done = project.run("python", "stages/train.py", "iclevr", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: lockstep.training.ema: changed since `check` digested it; run `dvc repro` again\n"
    )
    assert outputs(project) == before


@pytest.mark.long
@pytest.mark.pipeline
def test_a_second_clone_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    clone = checkout(tmp_path / "project")
    shutil.copy(finished.root / "params.yaml", clone.root / "params.yaml")
    commit(clone, "smoke")
    clone.dvc("repro", TARGET, SWEEP)
    assert lock(clone) == lock(finished)


@pytest.fixture(scope="module")
def slower(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The project after an experiment with another learning rate, and what DVC said of it."""
    project = copied(finished, tmp_path_factory.mktemp("slower") / "project")
    # DVC writes this as 1e-05, which YAML 1.1 takes for a string.
    done = project.dvc("exp", "run", "-S", "train.lr=0.00001", TARGET, "sweep@iclevr")
    return project, done.stdout


@pytest.mark.long
@pytest.mark.pipeline
def test_another_learning_rate_runs_training_and_what_follows(
    finished: Project, slower: tuple[Project, str]
) -> None:
    project, said = slower
    stages = ran(said)
    assert stages[:2] == ["check", "train@iclevr"]
    assert sorted(stages[2:]) == ["evaluate@iclevr", "sample@iclevr", "sweep@iclevr"]
    before, after = lock(finished), lock(project)
    for stage in ("collect@iclevr", "dataset@iclevr", "evaluator@iclevr"):
        assert after[stage] == before[stage]
    assert after["train@iclevr"]["outs"] != before["train@iclevr"]["outs"]
    (run,) = runs(project, "training")
    assert float(run.data.params["train.lr"]) == 1e-5
    (sweep,), points = runs(project, "sweep"), runs(project, "sweep point")
    assert sweep.data.tags["mlflow.parentRunId"] == run.info.run_id
    best = json.loads((project.root / "metrics/iclevr/sweep.json").read_text())
    assert best.items() <= sweep.data.metrics.items()
    # Two guidance scales, one sampler with one number of steps, and another setting: of its three
    # steps the first is not guided.
    assert len(points) == 4
    (other,) = (p for p in points if p.info.run_name == "weights last, steps 3")
    assert (other.data.params["sample.weights"], other.data.metrics["evaluations"]) == ("last", 5)
    for point in points:
        assert point.data.tags["mlflow.parentRunId"] == sweep.info.run_id
        assert {"fd_classifier", "seconds_per_image"} <= point.data.metrics.keys()
    for name in ("guidance", "steps", "evaluations", "evaluations_distance"):
        assert (project.root / f"plots/iclevr/sweep/{name}.png").exists()
    difference = json.loads(project.dvc("metrics", "diff", "--json").stdout)
    assert "metrics/iclevr/train.json" in difference
    assert "train.lr" in project.dvc("exp", "show", "--csv").stdout


@pytest.mark.long
@pytest.mark.pipeline
def test_a_cached_training_still_gets_its_run(slower: tuple[Project, str], tmp_path: Path) -> None:
    project = copied(slower[0], tmp_path / "project")  # without MLflow's store
    # Both learning rates are in DVC's cache now: nothing trains, only the evaluation is new.
    done = project.dvc("exp", "run", "-S", "iclevr.sample.steps=5", TARGET)
    assert "train@iclevr" not in ran(done.stdout)
    (training,) = runs(project, "training")
    assert float(training.data.params["train.lr"]) == 1e-5
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    losses = client.get_metric_history(training.info.run_id, "loss")
    assert [point.step for point in losses] == [5, 10, 15, 20]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train.lr", "fast", "params.yaml: train.lr: input should be a valid number"),
        ("diffusion.timesteps", 0, "params.yaml: diffusion.timesteps: input should be greater"),
        ("sample.sampler", "foo", "params.yaml: sample.sampler: input should be 'ddpm',"),
        ("diffusion.colour", 1, "params.yaml: diffusion.colour: unknown parameter"),
    ],
)
def test_a_mistake_in_params_is_one_line_and_costs_nothing(
    project: Project, name: str, value: object, message: str
) -> None:
    path = project.root / "params.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    section, key = name.split(".")
    document[section][key] = value
    path.write_text(yaml.safe_dump(document), "utf-8")
    before = outputs(project)
    done = project.dvc("repro", TARGET, check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {message}"), line
    assert ran(done.stdout) == ["check"]
    assert outputs(project) == before


def kill_in_training(project: Project, after: int) -> None:
    """`dvc repro`, and SIGKILL for it and all its children, some checkpoints later."""
    child = subprocess.Popen(
        ["dvc", "repro", TARGET],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    scratch = project.root / ".scratch/train"
    deadline = time.monotonic() + 120
    while not any(
        int(path.name.removeprefix("step-")) >= after for path in scratch.glob("*/step-*")
    ):
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def curve(project: Project) -> list[tuple[int, float]]:
    """Steps and losses of a training, as `dvc plots` draws them."""
    shown = json.loads(project.dvc("plots", "show", "--json", "plots/iclevr/train").stdout)
    (plot,) = shown["data"]["plots/iclevr/train/train.csv"]
    assert '"field": "loss"' in json.dumps(plot["content"]["layer"])
    rows = plot["content"]["data"]["values"]
    return [(int(row["step"]), float(row["loss"])) for row in rows]


@pytest.mark.long
def test_a_repro_that_was_killed_ends_in_the_same_bytes(project: Project, tmp_path: Path) -> None:
    project.set(checkpoint_every="1")
    path = project.root / "params.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    document["iclevr"]["train"]["seed"] = 5
    document["iclevr"]["train"]["steps"] = 60
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    quiet = Project(tmp_path / "quiet")
    shutil.copytree(project.root, quiet.root, symlinks=True)
    quiet.dvc("repro", TARGET)
    # Before the next one trains: the finished training's checkpoint, and others' are still there.
    shutil.rmtree(project.root / ".scratch")
    kill_in_training(project, after=30)
    metrics = "metrics/iclevr/train.json"
    shown = json.loads(project.dvc("metrics", "show", "--json", metrics).stdout)
    figures = shown[""]["data"][metrics]["data"]
    assert 30 <= figures["steps"] < 60
    points = curve(project)
    assert [step for step, _ in points] == list(range(5, points[-1][0] + 1, 5))
    assert (figures["steps"], figures["loss"]) in points
    resumed = project.dvc("repro", TARGET)
    assert re.search(r"train iclevr:.* [3-5]\d/60", resumed.stderr), "it began anew"
    assert lock(project) == lock(quiet)
    (run,) = runs(project, "training")
    assert run.info.status == "FINISHED"


@pytest.mark.long
def test_two_processes_share_each_stage(project: Project) -> None:
    # Else the finished training would be taken: its fingerprint leaves out the processes.
    shutil.rmtree(project.root / ".scratch")
    before = json.loads((project.root / "metrics/iclevr/train.json").read_text())
    changes = [f"{stage}.processes=2" for stage in ("train", "sample", "evaluate")]
    flags = [part for change in changes for part in ("-S", change)]
    done = project.dvc("exp", "run", *flags, TARGET)
    assert ran(done.stdout)[-3:] == ["train@iclevr", "sample@iclevr", "evaluate@iclevr"]
    after = json.loads((project.root / "metrics/iclevr/train.json").read_text())
    # bf16, each process with half of the batch: other roundings, the same training.
    assert after == pytest.approx(before, rel=0.02)
    assert len(list((project.root / "samples/iclevr/images/test").iterdir())) == 32


def outputs(project: Project) -> set[str]:
    """Every file that the pipeline made, but for the check's own."""
    folders = ("data/collected", "data/dataset", "evaluators", "models", "samples", "metrics")
    return {str(path) for folder in folders for path in (project.root / folder).rglob("*")}


def test_sampling_from_the_command_line(project: Project) -> None:
    out = project.root / "cubes.png"
    project.lockstep("sample", "iclevr", "red cube, cyan sphere", "--count", "2", "--out", str(out))
    with Image.open(out) as image:
        assert image.size == (2 * 66 - 2, 64)
    done = project.lockstep("sample", "iclevr", "red cow", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown name 'red cow'; choose from gray cube,")
