"""A training goes on whatever MLflow's store does: real trainings, real servers on loopback."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lockstep.cli import results
from lockstep.core.errors import LockstepError
from lockstep.tracking.live import followed
from lockstep.tracking.runs import Tracking
from lockstep.training.history import History
from made_up import finished
from tiny import ROOT, tiny_dataset, tiny_params
from train_tiny import FINGERPRINT

PROGRAM = Path(__file__).resolve().parent / "train_tiny.py"
PARAMS = tiny_params().deciding("model", "train")
GOES_ON = "The training goes on; `lockstep track` writes what is missing when it is done"


class Hanging:
    """A server that takes connections and requests, and never answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def is_waited_for(self) -> bool:
        """Whether whoever connected first still waits for the answer."""
        first = self.taken[0]
        first.setblocking(False)
        try:
            while first.recv(65536):
                pass
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    server = Hanging()
    yield server
    server.socket.close()
    for one in server.taken:
        one.close()


class Broken(BaseHTTPRequestHandler):
    """Answers every request with what the server is told to."""

    def answer(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        status, body = self.server.says  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def broken() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    tiny_dataset(tmp_path / "data")
    monkeypatch.chdir(tmp_path)


def training(address: str, **changes: Any) -> subprocess.Popen[str]:
    """A row at each step, and images after each epoch of eight; it waits ten minutes for MLflow."""
    changes = {"log_every": 1, "grid_every_epochs": 1, "track": True, **changes}
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address}
    environment |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "600", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), ".", "iclevr", json.dumps(changes)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What it said on stderr, apart from its progress; it must have gone well."""
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return "\n".join(line for line in said.split("\n") if "train iclevr:" not in line)


def rows() -> History:
    """What the training has measured."""
    found = json.loads(Path("iclevr.json").read_text("utf-8"))
    return History(found["train"], found["validation"])


def recorded() -> tuple[list[int], int]:
    """Of the training, in a store that works: the steps with a loss, the number of grids."""
    tracking = Tracking("iclevr")
    run = tracking.record_training(FINGERPRINT, PARAMS, rows(), {})
    client = tracking.client
    losses = [point.step for point in client.get_metric_history(run, "loss")]
    grids = [file.path for file in client.list_artifacts(run, "images")]
    assert client.get_run(run).info.status == "FINISHED"
    return sorted(losses), len([path for path in grids if path.endswith(".png")])


@pytest.mark.drill(
    "MLflow",
    "the tracking server refuses connections",
    "the training goes on; `lockstep track` writes all of it later",
)
def test_a_server_that_refuses_costs_a_line_and_all_is_written_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    said = ended(training(address))
    assert said.count(f"MLflow at {address}: ") == 2  # at first and at the end
    assert said.count(GOES_ON) == 1
    assert said.count("the run's end is not in MLflow: ") == 1
    assert "Traceback" not in said
    assert len(rows().train) == 12
    for _ in range(2):
        assert recorded() == (list(range(1, 13)), 1)


@pytest.mark.drill(
    "MLflow",
    "the tracking server answers 500",
    "it is asked a few times; the training goes on",
)
@pytest.mark.long
def test_a_server_that_is_broken_is_asked_a_few_times_for_all(
    broken: ThreadingHTTPServer,
) -> None:
    broken.says = (500, b"<html>no")  # type: ignore[attr-defined]
    said = ended(training(f"http://127.0.0.1:{broken.server_port}", steps=60))
    assert "too many 500 error responses" in said
    assert said.count(GOES_ON) == 1
    assert len(rows().train) == 60
    asked = len(broken.asked)  # type: ignore[attr-defined]
    assert 0 < asked < 20, asked  # two for each try; the second one is 15 s after the first


@pytest.mark.drill("MLflow", "what answers is no MLflow (a login page, nonsense)", "one line")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please log in",
        b"[]",
        b"{}",
        b"null",
        b"5",
        b'{"experiment": 5}',
        b'{"experiment": {}}',
        b'{"experiment": {"lifecycle_stage": "active"}}',
        b'{"experiment": {"experiment_id": [1]}}',
        b"\xff\xfe",
    ],
)
def test_an_answer_of_something_else_is_one_line(
    broken: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    broken.says = (200, body)  # type: ignore[attr-defined]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{broken.server_port}")
    with pytest.raises(LockstepError, match=r"^MLflow at http://127.0.0.1:") as refused:
        Tracking("iclevr").record_training(FINGERPRINT, PARAMS, History(), {})
    assert "\n" not in str(refused.value)


@pytest.mark.drill(
    "MLflow",
    "the tracking server hangs",
    "the training goes on; `lockstep track` writes all of it later",
)
@pytest.mark.long
def test_a_server_that_never_answers_is_not_waited_for(hanging: Hanging) -> None:
    process = training(hanging.address)
    said = ended(process)
    assert "the run's end is not in MLflow: it does not answer; `lockstep track`" in said
    assert len(hanging.taken) == 1  # of rows and images by the dozen
    assert recorded() == (list(range(1, 13)), 1)


@pytest.mark.drill(
    "MLflow",
    "SIGTERM while the tracking server hangs",
    "the training stops within seconds, with a checkpoint",
)
def test_a_stop_does_not_wait_either(hanging: Hanging) -> None:
    process = training(hanging.address, steps=100_000)
    waits_no_longer = threading.Timer(200, process.kill)
    waits_no_longer.start()
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline().startswith("step ")
    waits_no_longer.cancel()
    assert hanging.is_waited_for()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "error: stopped at step " in said
    assert len(hanging.taken) == 1
    assert list(Path("iclevr").glob("*"))  # its checkpoint


@pytest.mark.drill(
    "MLflow",
    "another process locks the store",
    "no step waits; all is written when it is free",
)
def test_a_store_that_another_process_locks_holds_no_step_up(
    empty_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    store = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with followed("iclevr", FINGERPRINT, PARAMS) as live:
        experiment = store.get_experiment_by_name("iclevr")
        assert experiment is not None
        (run,) = store.search_runs([experiment.experiment_id])
        other = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for step in range(1000):
            live.log(step, {"loss": 0.5})
        other.execute("ROLLBACK")  # a store that had been waited for would never get here
        other.close()
    points = store.get_metric_history(run.info.run_id, "loss")
    assert [point.step for point in points] == list(range(1000))


@pytest.mark.drill(
    "MLflow",
    "`MLFLOW_TRACKING_URI` is no address",
    "one line before the training begins",
)
def test_a_wrong_address_ends_the_training_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://somewhere")
    refused = pytest.raises(LockstepError, match="MLflow at nonsense://somewhere: ")
    with refused, followed("iclevr", FINGERPRINT, PARAMS):
        pytest.fail("it began")
    assert capsys.readouterr().err == ""  # it is said by who catches it


@pytest.mark.drill(
    "MLflow",
    "the store is away when `lockstep track` starts",
    "one line for all workloads",
)
def test_a_store_that_is_away_from_the_start_is_waited_for_once(
    broken: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `lockstep track`, of all workloads."""
    broken.says = (503, b"")  # type: ignore[attr-defined]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{broken.server_port}")
    for workload in ("iclevr", "faces", "anime"):
        finished(workload, labels=3)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    with pytest.raises(LockstepError, match=r"^MLflow at http://127.0.0.1") as refused:
        results.track(argparse.Namespace())
    assert "\n" not in str(refused.value)
    assert len(broken.asked) == 2  # type: ignore[attr-defined]
    assert "in MLflow" not in capsys.readouterr().out
