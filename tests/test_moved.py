"""MLflow's store of a project that was moved, copied, or is in a folder of an odd name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from lockstep.core.errors import LockstepError
from lockstep.tracking import store
from lockstep.tracking.runs import Tracking
from lockstep.training.history import History
from made_up import finished
from tiny import ROOT

PARAMS = {"train.lr": 1e-3, "train.steps": 20, "model.channels": [32, 64]}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def project(root: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root.mkdir()
    monkeypatch.chdir(root)
    shutil.copyfile(empty_store, root / "mlflow.db")
    return root


def track(root: Path) -> str:
    """`lockstep track` as a process of its own: MLflow remembers places while it runs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "lockstep.cli", "track"]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.drill(
    "Folders and clones",
    "the project is moved",
    "MLflow's models are loaded from the new place",
)
@pytest.mark.long
def test_a_model_is_loaded_where_the_project_was_moved_to(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From and to folders with names that mean something else in an address."""
    old = project(tmp_path / "x%2Fy", empty_store, monkeypatch)
    finished("iclevr", labels=3)
    shutil.copy(ROOT / "params.yaml", old)
    assert "iclevr: evaluation in MLflow" in track(old)
    new = old.rename(tmp_path / "a?b #1 é%")
    monkeypatch.chdir(new)
    assert "iclevr: evaluation in MLflow" in track(new)
    assert list(tmp_path.iterdir()) == [new]  # nothing is made anew, nor elsewhere

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address())
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    model = mlflow.pyfunc.load_model("models:/lockstep-iclevr/1")
    assert model.predict(pd.DataFrame({"objects": ["red cube"]})).shape == (1, 16, 16, 3)
    client = MlflowClient(store.address())
    assert len(client.search_model_versions("name = 'lockstep-iclevr'")) == 1
    (experiment,) = client.search_experiments(filter_string="name = 'iclevr'")
    for run in client.search_runs([experiment.experiment_id]):
        for file in client.list_artifacts(run.info.run_id, "images"):
            if not file.is_dir:
                assert Path(client.download_artifacts(run.info.run_id, file.path)).exists()


def recorded(fingerprint: str = "f" * 64) -> str:
    """Of a training in the project here: the id of its run, which has an artifact."""
    tracking = Tracking("iclevr")
    run: str = tracking.record_training(fingerprint, PARAMS, History(), {})
    (Path.cwd() / "file").write_text("a file")
    tracking.client.log_artifact(run, "file")
    return run


def places(root: Path, run: str) -> tuple[str, str]:
    """Where the experiment's later runs, and where this run has its files."""
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("iclevr")
    assert experiment is not None
    return experiment.artifact_location, client.get_run(run).info.artifact_uri


@pytest.mark.drill(
    "Folders and clones",
    "the project is copied",
    "the copy writes nothing into the first one",
)
def test_a_copy_writes_nothing_into_the_project_that_it_is_of(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = project(tmp_path / "first", empty_store, monkeypatch)
    run = recorded()
    before = places(first, run)
    assert all(place.startswith((first / "mlartifacts/iclevr").as_uri()) for place in before)
    second = shutil.copytree(first, tmp_path / "second")
    monkeypatch.chdir(second)
    Tracking("iclevr")
    here = (second / "mlartifacts/iclevr").as_uri()
    assert places(second, run) == (here, before[1].replace("/first/", "/second/"))
    assert places(first, run) == before


@pytest.mark.drill(
    "Folders and clones",
    "`mlflow.db` is copied without its files",
    "old runs keep theirs; new ones are here",
)
def test_runs_whose_files_were_not_copied_keep_them(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = project(tmp_path / "first", empty_store, monkeypatch)
    run = recorded()
    before = places(first, run)
    project(tmp_path / "second", first / "mlflow.db", monkeypatch)
    Tracking("iclevr")
    here = (tmp_path / "second/mlartifacts/iclevr").as_uri()
    assert places(tmp_path / "second", run) == (here, before[1])


@pytest.mark.drill(
    "Folders and clones",
    "a shared store names a folder that is gone",
    "one line names it; it is not made anew",
)
def test_a_store_elsewhere_is_not_changed_but_a_lost_folder_is_said(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another machine's, or another project's."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs/mlflow.db")
    project(tmp_path / "runs", empty_store, monkeypatch)
    first = tmp_path / "first"
    for folder in (first, tmp_path / "second"):
        folder.mkdir()
    monkeypatch.chdir(first)
    Tracking("iclevr")  # its folder is there, though there is no run yet
    monkeypatch.chdir(tmp_path / "second")
    before = places(tmp_path / "runs", recorded())
    assert all(place.startswith((first / "mlartifacts/iclevr").as_uri()) for place in before)
    first.rename(tmp_path / "gone")
    with pytest.raises(LockstepError, match=r"iclevr' are in .*first/mlartifacts/iclevr, which is"):
        Tracking("iclevr")
    assert not first.exists()


@pytest.mark.drill(
    "Folders and clones",
    "a folder's name has `%2F`, `?`, `#`, `[`, spaces or Chinese",
    "the store is inside it",
)
@pytest.mark.parametrize(
    "name", ["x%2Fy", "a?b=c", "%", "a#b;c", "[a]", "spaces and é 紅", "a@b:c"]
)
def test_the_store_is_in_a_project_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, name: str
) -> None:
    root = project(tmp_path / name, empty_store, monkeypatch)
    run = recorded()
    assert {path.name for path in root.iterdir()} == {
        ".scratch",
        "file",
        "mlartifacts",
        "mlflow.db",
    }
    assert list(tmp_path.iterdir()) == [root]
    assert (root / f"mlartifacts/iclevr/{run}/artifacts/file").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db?timeout=5")
    assert recorded() == run
    assert list(tmp_path.iterdir()) == [root]
