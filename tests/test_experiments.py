"""DVC's experiments as their user runs them: none is lost, none stands twice in MLflow."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from mlflow import MlflowClient

from conftest import REPOSITORY, Project, ran, runs
from lockstep.core import hashing

pytestmark = pytest.mark.long

TARGET = "evaluate@iclevr"
BACK = "params.yaml keeps the experiment's values; to go back: `git checkout params.yaml`"


def workspace(project: Project) -> dict[str, str]:
    """The hash of everything in the main checkout that an experiment could change."""
    names = (
        "params.yaml",
        "dvc.lock",
        "data",
        "evaluators",
        "models",
        "samples",
        "plots",
        "metrics",
    )
    return {name: hashing.sha256(project.root / name) for name in names}


def parameters(text: str) -> tuple[int, list[int]]:
    """The number of sampling steps and the seeds in a params.yaml."""
    workload = yaml.safe_load(text)["iclevr"]
    return workload["sample"]["steps"], workload["sample"]["seeds"]


def finish_queue(project: Project, count: int) -> dict[str, str]:
    """Run the `count` that are queued, two at a time; each one's name and how it ended."""
    project.dvc("queue", "start", "--jobs", "2")
    try:
        deadline = time.monotonic() + 900
        while True:
            rows = [line.split() for line in project.dvc("queue", "status").stdout.splitlines()]
            states = {row[1]: row[-1] for row in rows if row and row[-1] in ("Success", "Failed")}
            if len(states) == count:
                return states
            assert time.monotonic() < deadline, states
            time.sleep(2)
    finally:
        project.dvc("queue", "stop")


def finished_experiments(project: Project) -> dict[str, dict]:
    """The metrics of each experiment that `dvc exp show` has."""
    _, baseline = json.loads(project.dvc("exp", "show", "--json").stdout)
    return {
        found["name"]: found["revs"][0]["data"]["metrics"]["metrics/iclevr/evaluate.json"]["data"]
        for found in baseline["experiments"]
        if found["executor"]["state"] == "success"
    }


def test_a_queued_grid_of_samplings_and_one_that_is_taken_over(project: Project) -> None:
    for _ in range(2):  # no second run for what is there already
        project.lockstep("track")
    (training,), (first,) = runs(project, "training"), runs(project, "evaluation")
    before = workspace(project)
    grid = ("-S", "iclevr.sample.steps=2,4,0", "-S", "iclevr.sample.seeds=[0,1]")
    project.dvc("exp", "run", "--queue", *grid, TARGET)
    # The copies have what was queued.
    for name in ("sampling/sample.py", "evaluation/evaluators/classifier.py"):
        (project.root / "src/lockstep" / name).write_text("raise SystemExit('edited since')\n")
    states = finish_queue(project, 3)
    project.run("git", "checkout", "src")
    assert workspace(project) == before

    # 0 steps are a mistake; in a copy of the project there is nothing to take back.
    (mistaken,) = [name for name, state in states.items() if state == "Failed"]
    log = project.dvc("queue", "logs", mistaken).stdout
    assert "error: params.yaml: iclevr.sample.steps: input should be greater" in log
    assert BACK not in log

    metrics = finished_experiments(project)
    assert metrics.keys() == states.keys() - {mistaken}
    assert len({scores["fd_classifier"] for scores in metrics.values()}) == 2
    assert [run.info.run_id for run in runs(project, "training")] == [training.info.run_id]
    evaluations = {run.data.tags.get("dvc.exp_name"): run for run in runs(project, "evaluation")}
    assert len(runs(project, "evaluation")) == 3
    assert evaluations.pop(None).info.run_id == first.info.run_id
    assert evaluations.keys() == metrics.keys()
    compared = project.lockstep("compare", *metrics, "--all").stdout
    assert "  fd_classifier  " in compared and "than twice their error" in compared
    names = {}
    for name, run in evaluations.items():
        assert run.data.tags["mlflow.parentRunId"] == training.info.run_id
        assert metrics[name].items() <= run.data.metrics.items()
        assert run.data.params["sample.seeds"] == "[0, 1]"
        names[run.data.params["sample.steps"]] = name
    assert names.keys() == {"2", "4"}

    # DVC says that the other workloads' outputs are not there, after all is done.
    project.dvc("exp", "apply", names["4"], check=False)
    assert parameters((project.root / "params.yaml").read_text("utf-8")) == (4, [0, 1])
    assert (project.root / "samples/iclevr/seed_1/images/test/31.png").exists()
    assert "up to date" in project.dvc("status", "--with-deps", TARGET).stdout
    project.lockstep("track")
    assert len(runs(project, "training")) == 1
    assert len(runs(project, "evaluation")) == 3

    project.dvc("exp", "branch", names["2"], "two-steps")
    text = project.run("git", "show", "two-steps:params.yaml").stdout
    assert parameters(text) == (2, [0, 1])


def test_every_stage_imports_the_code_of_its_own_copy() -> None:
    """What the queued grid shows for two of them."""
    for stage in (REPOSITORY / "stages").glob("*.py"):
        if stage.name != "this_tree.py":
            lines = stage.read_text("utf-8").splitlines()
            first = next(i for i, line in enumerate(lines) if line.startswith("from lockstep"))
            assert "import this_tree  # noqa: F401" in lines[:first], stage


def test_an_experiment_in_a_copy_leaves_the_checkout_alone(project: Project) -> None:
    before = workspace(project)
    done = project.dvc("exp", "run", "--temp", "-S", "train.lr=0.002", TARGET)
    assert ran(done.stdout)[:2] == ["check", "train@iclevr"]
    assert "not in MLflow" not in done.stderr
    assert workspace(project) == before
    (run,) = runs(project, "training")  # in the main checkout's store, not in the copy's
    assert run.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'lockstep-iclevr'")
    assert version.run_id == run.info.run_id
    assert run.data.tags["dvc.exp_name"]
    assert float(run.data.params["train.lr"]) == 0.002


@pytest.mark.drill(
    "Git and DVC",
    "an experiment fails, in a copy or not",
    "the outputs and params of before are had again",
)
def test_a_failed_experiment_loses_nothing(project: Project) -> None:
    before = workspace(project)
    done = project.dvc("exp", "run", "-S", "train.lr=-1", TARGET, check=False)
    assert done.returncode != 0
    assert BACK in done.stderr
    # But for the check's own word, the outputs have not been touched, nor has MLflow.
    assert (project.root / "models/iclevr/ema.safetensors").exists()
    assert not (project.root / "mlflow.db").exists()
    project.run("git", "checkout", "params.yaml")

    done = project.dvc("exp", "run", "-S", "train.lr=1e30", TARGET, check=False)
    assert done.returncode != 0
    assert "error: the loss is " in done.stderr
    assert BACK in done.stderr
    (run,) = runs(project, "training")
    assert run.info.status == "FAILED"
    assert runs(project, "evaluation") == []
    # As the line says.
    project.run("git", "checkout", "params.yaml")
    assert ran(project.dvc("repro", TARGET).stdout) == []
    assert workspace(project) == before
    assert project.run("git", "status", "--porcelain").stdout == ""
