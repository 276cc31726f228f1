"""MLflow's runs, read back through its client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError, Stopped
from lockstep.core.images import read_rgb, write_png
from lockstep.sampling.preview import Preview
from lockstep.tracking.live import followed
from lockstep.tracking.runs import Tracking
from lockstep.training.history import History
from tiny import ROOT

PARAMS = {"train.lr": 1e-3, "train.steps": 20, "model.channels": [32, 64]}
SAMPLING = {"sample.sampler": "ddim", "sample.steps": 20, "sample.guidance_scale": 4.0}


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def runs(store: MlflowClient, kind: str) -> list[Run]:
    experiment = store.get_experiment_by_name("iclevr")
    assert experiment is not None
    return store.search_runs([experiment.experiment_id], f"tags.`lockstep.kind` = '{kind}'")


T = TypeVar("T")


def wait_for(found: Callable[[], T]) -> T:
    """What is found as soon as it is anything: the training does not wait until it is written."""
    deadline = time.monotonic() + 60
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


def test_a_training_is_followed_live_and_resumed_in_the_same_run(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "vocal-kiwi")
    with pytest.raises(RuntimeError), followed("iclevr", "f" * 64, PARAMS) as live:
        live.log(5, {"loss": 0.5, "lr": 1e-3})
        run = wait_for(lambda: [r for r in runs(store, "training") if r.data.metrics])[0]
        assert run.info.status == "RUNNING"
        assert run.data.metrics["loss"] == 0.5
        live.log(10, {"loss": 0.4, "lr": 1e-3})
        raise RuntimeError
    (run,) = runs(store, "training")
    assert run.info.status == "FAILED"
    with followed("iclevr", "f" * 64, PARAMS) as live:
        live.log(10, {"loss": 0.4, "lr": 1e-3})  # again, from the checkpoint at step 5
        live.log(15, {"loss": 0.3, "lr": 1e-3})
    (run,) = runs(store, "training")
    assert run.info.status == "FINISHED"
    assert run.data.tags["dvc.exp_name"] == "vocal-kiwi"
    assert run.info.run_name == "vocal-kiwi: lr 0.001, 20 steps, width 32-64"
    assert run.data.params["model.channels"] == "[32, 64]"
    points = store.get_metric_history(run.info.run_id, "loss")
    assert [(p.step, p.value) for p in points] == [(5, 0.5), (10, 0.4), (15, 0.3)]


def test_another_fingerprint_is_another_run(store: MlflowClient) -> None:
    for fingerprint in ("a" * 64, "b" * 64):
        with followed("iclevr", fingerprint, PARAMS):
            pass
    assert len(runs(store, "training")) == 2


def test_records_are_written_once(store: MlflowClient, tmp_path: Path) -> None:
    history = History([{"step": 5, "loss": 0.5, "lr": 0.1}], [{"step": 5, "val_loss": 0.6}])
    grid = tmp_path / "test.png"
    write_png(grid, np.zeros((4, 4, 3), np.uint8))
    for scores in ({"accuracy_test": 0.5}, {"accuracy_test": 0.5}, {"accuracy_test": 0.75}):
        tracking = Tracking("iclevr")
        training = tracking.record_training("f" * 64, PARAMS, history, {"loss": 0.5, "steps": 5})
        params = {**PARAMS, **SAMPLING}
        tracking.record_evaluation(training, "e" * 64, params, scores, [(grid, "evaluation")])
    (run,), (evaluation,) = runs(store, "training"), runs(store, "evaluation")
    assert evaluation.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert evaluation.info.run_name == "ddim, 20 steps, guidance 4"
    assert evaluation.data.params["sample.steps"] == "20"
    assert evaluation.data.metrics["accuracy_test"] == 0.75
    assert run.data.metrics["val_loss"] == 0.6
    assert len(store.get_metric_history(run.info.run_id, "loss")) == 1
    assert len(store.get_metric_history(evaluation.info.run_id, "accuracy_test")) == 2
    for info in (run.info, evaluation.info):
        (artifact,) = store.list_artifacts(info.run_id, "evaluation")
        assert artifact.path == "evaluation/test.png"


def test_a_finished_run_keeps_its_end(store: MlflowClient) -> None:
    with followed("iclevr", "f" * 64, PARAMS):
        pass
    (before,) = runs(store, "training")
    time.sleep(0.01)
    Tracking("iclevr").record_training("f" * 64, PARAMS, History(), {"loss": 0.5})
    (after,) = runs(store, "training")
    assert after.info.end_time == before.info.end_time


def preview(shade: int) -> Preview:
    """A grid and three strips, each in its own shade."""
    strips = tuple(np.full((4, 10, 3), shade + i, np.uint8) for i in range(1, 4))
    return Preview(np.full((8, 16, 3), shade, np.uint8), strips)


def read_back(store: MlflowClient, run: Run, name: str) -> NDArray[np.uint8]:
    return read_rgb(Path(store.download_artifacts(run.info.run_id, name)))


def test_grids_stand_beside_each_other_by_step(store: MlflowClient) -> None:
    grids = {step: preview(step) for step in (100, 200)}
    for _ in range(2):  # a resumed training draws some of them again
        with followed("iclevr", "f" * 64, PARAMS) as live:
            for step, grid in grids.items():
                live.show(step, grid)
    (run,) = runs(store, "training")
    files = [item.path for item in store.list_artifacts(run.info.run_id, "images")]
    for step, grid in grids.items():
        (name,) = [
            path for path in files if f"samples+step+{step}+" in path and path.endswith(".png")
        ]
        assert np.array_equal(read_back(store, run, name), grid.grid)
        folder = f"strips/{step:09d}"
        names = {f"{folder}/{i + 1}.png": strip for i, strip in enumerate(grid.strips)}
        assert {item.path for item in store.list_artifacts(run.info.run_id, folder)} == set(names)
        for name, strip in names.items():
            assert np.array_equal(read_back(store, run, name), strip)


@pytest.mark.parametrize("method", ["log_artifact", "log_image"])
def test_images_that_did_not_arrive_are_written_when_the_training_is_recorded(
    store: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, method, full)
        with followed("iclevr", "f" * 64, PARAMS) as live:
            live.show(100, preview(100))
    assert "no space left" in capsys.readouterr().err
    for _ in range(2):
        Tracking("iclevr").record_training("f" * 64, PARAMS, History(), {})
    (run,) = runs(store, "training")
    assert len(store.list_artifacts(run.info.run_id, "strips/000000100")) == 3
    grids = [file.path for file in store.list_artifacts(run.info.run_id, "images")]
    assert len([path for path in grids if path.endswith(".png")]) == 1
    assert not list(Path(".scratch/mlflow").iterdir())  # kept no longer


def test_a_stop_on_request_is_no_failure(store: MlflowClient) -> None:
    with pytest.raises(Stopped), followed("iclevr", "f" * 64, PARAMS):
        raise Stopped("stopped")
    (run,) = runs(store, "training")
    assert run.info.status == "KILLED"


def test_a_run_cut_off_before_its_params_gets_them(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "log_batch", lambda *_, **__: sys.exit(1))
        with pytest.raises(SystemExit):
            Tracking("iclevr").follow("f" * 64, PARAMS)
    (run,) = runs(store, "training")
    assert run.data.params == {}
    with followed("iclevr", "f" * 64, PARAMS):
        pass
    (run,) = runs(store, "training")
    assert run.data.params["train.lr"] == "0.001"


def test_processes_that_start_together_share_a_run(store: MlflowClient, tmp_path: Path) -> None:
    code = (
        "from lockstep.tracking.runs import Tracking\n"
        f"Tracking('iclevr').follow('f' * 64, {PARAMS!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code]
    children = [subprocess.Popen(command, env=environment, cwd=tmp_path) for _ in range(2)]
    assert [child.wait(120) for child in children] == [0, 0]
    assert len(runs(store, "training")) == 1


@pytest.mark.parametrize(
    ("changes", "guided", "name"),
    [
        ({"sample.eta": 0.0}, True, "ddim, 20 steps, guidance 4"),
        ({"sample.eta": 0.5}, False, "ddim eta 0.5, 20 steps"),
        (
            {"sample.sampler": "ddpm", "sample.weights": "best"},
            False,
            "ddpm, 20 steps, weights best",
        ),
    ],
)
def test_an_evaluation_is_called_what_a_person_would(
    store: MlflowClient, changes: dict[str, object], guided: bool, name: str
) -> None:
    tracking = Tracking("iclevr")
    training = tracking.record_training("f" * 64, PARAMS, History(), {})
    params = {**PARAMS, **SAMPLING, **changes}
    tracking.record_evaluation(training, "e" * 64, params, {}, [], guided=guided)
    (evaluation,) = runs(store, "evaluation")
    assert evaluation.info.run_name == name


def test_the_machine_is_watched_while_training(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def samples() -> int:
        (run,) = runs(store, "training")
        name = "system/cpu_utilization_percentage"
        return len(store.get_metric_history(run.info.run_id, name))

    others = set(threading.enumerate())  # of tests before, which some stores keep waiting

    def watchers() -> list[threading.Thread]:
        named = (t for t in threading.enumerate() if t.name == "SystemMetricsMonitor")
        return [thread for thread in named if thread not in others]

    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    seen = 0
    for ending in (RuntimeError, Stopped):  # the second goes on where the first ended
        with pytest.raises(ending), followed("iclevr", "f" * 64, PARAMS):
            assert len(watchers()) == 1
            before, waited = seen, time.monotonic()
            while (seen := samples()) <= before:
                assert time.monotonic() - waited < 20, "no sample"
                time.sleep(0.05)
            raise ending
        assert not watchers()
        seen = samples()
    (run,) = runs(store, "training")
    assert "system/system_memory_usage_percentage" in run.data.metrics
    name = "system/cpu_utilization_percentage"
    steps = [point.step for point in store.get_metric_history(run.info.run_id, name)]
    assert sorted(set(steps)) == sorted(steps) == list(range(len(steps)))
    output = capfd.readouterr()
    assert "monitoring" not in output.out + output.err


def test_a_machine_that_cannot_be_watched_is_trained_on(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such counter")

    monkeypatch.setattr("lockstep.tracking.live.SystemMetricsMonitor", broken)
    with followed("iclevr", "f" * 64, PARAMS):
        pass
    (run,) = runs(store, "training")
    assert run.info.status == "FINISHED"
    assert capsys.readouterr().err == "the machine is not watched: no such counter\n"


def test_a_deleted_experiment_is_said_in_one_line(store: MlflowClient) -> None:
    number = Tracking("iclevr").experiment
    store.delete_experiment(number)
    with pytest.raises(LockstepError, match=rf"is deleted; .* --experiment-id {number}"):
        Tracking("iclevr")


def test_a_store_that_fails_on_the_way_does_not_end_the_training(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    with followed("iclevr", "f" * 64, PARAMS) as live, monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "log_batch", away)
        live.log(5, {"loss": 0.5})
        said = wait_for(lambda: capsys.readouterr().err)
        live.log(10, {"loss": 0.4})
    assert said.startswith("MLflow at sqlite:") and said.count("\n") == 1
    assert "database is locked" in said and "The training goes on" in said
    (run,) = runs(store, "training")  # what waited is tried once more at the end
    assert {point.step for point in store.get_metric_history(run.info.run_id, "loss")} <= {5, 10}
    history = History([{"step": 5, "loss": 0.5}, {"step": 10, "loss": 0.4}])
    run = Tracking("iclevr").record_training("f" * 64, PARAMS, history, {})
    points = store.get_metric_history(run, "loss")
    assert sorted((p.step, p.value) for p in points) == [(5, 0.5), (10, 0.4)]


def test_the_users_store_is_respected(
    store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    with followed("iclevr", "f" * 64, PARAMS):
        pass
    assert (tmp_path / "elsewhere.db").exists()
    assert store.get_experiment_by_name("iclevr") is None


def test_a_store_out_of_reach_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://somewhere")
    with pytest.raises(LockstepError, match=r"MLflow at nonsense://somewhere: "):
        Tracking("iclevr")


def test_a_store_that_fails_at_the_end_does_not_hide_what_happened(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise MlflowException("the store is gone")

    monkeypatch.setattr(MlflowClient, "set_terminated", refuses)
    stopped = pytest.raises(Stopped, match="at step 5")
    with stopped, followed("iclevr", "f" * 64, PARAMS):
        raise Stopped("at step 5")
    with followed("iclevr", "f" * 64, PARAMS):
        pass
    assert capsys.readouterr().err.count("the run's end is not in MLflow") == 2


def test_a_file_that_is_named_from_the_project_is_the_main_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In DVC's copy of the project it would be deleted with the copy."""
    copy = tmp_path / "main/.dvc/tmp/exps/standalone/copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs.db")
    with followed("iclevr", "f" * 64, PARAMS) as live:
        live.log(100, {"loss": 0.5})
        live.show(100, preview(100))
    assert (tmp_path / "main/runs.db").exists()
    assert list((tmp_path / "main/mlartifacts/iclevr").rglob("*.png"))
    assert list(copy.iterdir()) == []
