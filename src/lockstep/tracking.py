"""MLflow: one experiment a workload, one run a training, one child run an evaluation.

Runs are found by what they are about (the training's fingerprint, the evaluation's), never by
what happened to start them: a resumed training, a forced one, an evaluation of a model that came
out of DVC's cache and `lockstep track` all write into the same run. What stands in a run already
is not written twice.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lockstep import paths
from lockstep.errors import LockstepError
from lockstep.history import History, Row

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
logging.getLogger("alembic").setLevel(logging.WARNING)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, Run  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID  # noqa: E402

FINGERPRINT = "lockstep.fingerprint"
KIND = "lockstep.kind"


class Tracking:
    """The runs of one workload in the store."""

    def __init__(self, workload: str) -> None:
        """Open the store: `MLFLOW_TRACKING_URI`, or a SQLite file in the main checkout.

        Raises
        ------
        LockstepError
            If the store cannot be reached.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        location = None
        if not uri:
            uri = f"sqlite:///{paths.home() / 'mlflow.db'}"
            # Absolute: experiments may run in another folder, and so may the UI.
            location = (paths.home() / "mlartifacts" / workload).as_uri()
        try:
            self.client = MlflowClient(uri)
            found = self.client.get_experiment_by_name(workload)
            self.experiment = (
                found.experiment_id
                if found is not None
                else self.client.create_experiment(workload, artifact_location=location)
            )
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise LockstepError(f"MLflow at {uri}: {reason}; see MLFLOW_TRACKING_URI") from None

    @contextmanager
    def training(
        self, fingerprint: str, params: Mapping[str, Any]
    ) -> Iterator[Callable[[int, Row], None]]:
        """The run of a training while it goes on; gives `log(step, {name: value})`."""
        run = self._training_run(fingerprint, params)
        run_id = run.info.run_id
        written = self._written_steps(run_id)
        self.client.set_terminated(run_id, "RUNNING")

        def log(step: int, values: Row) -> None:
            self._log_rows(run_id, [(step, values)], written)

        try:
            yield log
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt | SystemExit)
            self.client.set_terminated(run_id, "KILLED" if killed else "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def record_training(
        self, fingerprint: str, params: Mapping[str, Any], history: History, metrics: Row
    ) -> str:
        """A finished training from what it left on disk; gives the run's id."""
        run_id = self._training_run(fingerprint, params).info.run_id
        rows = [
            (int(row["step"]), {key: value for key, value in row.items() if key != "step"})
            for row in (*history.train, *history.validation)
        ]
        self._log_rows(run_id, rows, self._written_steps(run_id))
        self._log_metrics(run_id, metrics)
        self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def record_evaluation(
        self,
        training_run: str,
        fingerprint: str,
        params: Mapping[str, Any],
        metrics: Row,
        pictures: Sequence[Path],
    ) -> str:
        """An evaluation as a child of its training's run; gives the child's id.

        The training's run shows the metrics and pictures too, those of its latest evaluation.
        """
        summary = (
            f"{params['sample.sampler']} {params['sample.steps']} "
            f"guidance={params['sample.guidance_scale']:g}"
        )
        child = self._find_or_create(
            "evaluation", fingerprint, summary, params, {MLFLOW_PARENT_RUN_ID: training_run}
        ).info.run_id
        for run_id in (child, training_run):
            self._log_metrics(run_id, metrics)
            for path in pictures:
                self.client.log_artifact(run_id, str(path), "pictures")
        self.client.set_terminated(child, "FINISHED")
        return child

    def _training_run(self, fingerprint: str, params: Mapping[str, Any]) -> Run:
        experiment = os.environ.get("DVC_EXP_NAME")
        summary = f"lr={params['train.lr']:g} steps={params['train.steps']}"
        name = f"{experiment}: {summary}" if experiment else summary
        return self._find_or_create("training", fingerprint, name, params, {})

    def _find_or_create(
        self,
        kind: str,
        fingerprint: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> Run:
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{FINGERPRINT}` = '{fingerprint}' and tags.`{KIND}` = '{kind}'",
            max_results=1,
        )
        if found:
            return found[0]
        about = {FINGERPRINT: fingerprint, KIND: kind, **_provenance(), **tags}
        run = self.client.create_run(self.experiment, tags=about, run_name=name)
        self.client.log_batch(
            run.info.run_id, params=[Param(key, str(value)) for key, value in params.items()]
        )
        return run

    def _written_steps(self, run_id: str) -> dict[str, set[int]]:
        metrics = ("loss", "lr", "val_loss")
        return {
            name: {point.step for point in self.client.get_metric_history(run_id, name)}
            for name in metrics
        }

    def _log_rows(
        self, run_id: str, rows: list[tuple[int, Row]], written: dict[str, set[int]]
    ) -> None:
        now = int(time.time() * 1000)
        new = [
            Metric(name, value, now, step)
            for step, values in rows
            for name, value in values.items()
            if step not in written[name]
        ]
        for metric in new:
            written[metric.key].add(metric.step)
        for start in range(0, len(new), 1000):  # the store's limit for one batch
            self.client.log_batch(run_id, metrics=new[start : start + 1000])

    def _log_metrics(self, run_id: str, metrics: Row) -> None:
        """Final figures, each once: one that stands there already with that value is left."""
        current = self.client.get_run(run_id).data.metrics
        now = int(time.time() * 1000)
        new = [Metric(k, v, now, 0) for k, v in metrics.items() if current.get(k) != v]
        if new:
            self.client.log_batch(run_id, metrics=new)


def _provenance() -> dict[str, str]:
    """Tags that say where a run came from: git commit, DVC experiment."""
    tags = {}
    for tag, variable in (
        ("dvc.exp_name", "DVC_EXP_NAME"),
        ("dvc.exp_baseline", "DVC_EXP_BASELINE_REV"),
        ("dvc.stage", "DVC_STAGE"),
    ):
        if value := os.environ.get(variable):
            tags[tag] = value
    if commit := _git_commit():
        tags[MLFLOW_GIT_COMMIT] = commit
    return tags


def _git_commit() -> str | None:
    try:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # not a checkout: the run just has no commit
