"""MLflow: one experiment a workload, one run a training, one child run an evaluation.

Runs are found by what they are about (the training's fingerprint, the evaluation's), never by
what happened to start them: a resumed training, a forced one, an evaluation of a model that came
out of DVC's cache and `lockstep track` all write into the same run. What stands in a run already
is not written twice.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow.entities import LifecycleStage, LoggedModelInput, Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.images import read_rgb
from lockstep.core.lock import exclusive
from lockstep.tracking import pending, places, store
from lockstep.tracking.data import CARDS, card_of, data_of_training
from lockstep.training.history import History, Row

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A server that is away must not hold anything up for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("PGCONNECT_TIMEOUT", "30")
logging.getLogger("alembic").setLevel(logging.WARNING)

FINGERPRINT = "lockstep.training.fingerprint"  # the name of a tag, not of a module
KIND = "lockstep.kind"
_GRIDS, _STRIPS = "samples", "strips"
EVALUATION, _SWEEP = "evaluation", "sweep"
"""Folders of artifacts. Not `images`, which has only what `log_image` names: a file of another name
there, and MLflow's page shows none of the run's grids."""
_CURVES = ("loss", "lr", "val_loss")
# The store's limits for one batch.
_METRICS, _PARAMS = 1000, 100

# Without it the page takes the project for one that asks language models.
_KIND_OF_WORK = {"mlflow.experimentKind": "custom_model_development"}


class Tracking:
    """The runs of one workload in the store. Any failure of the store is a `LockstepError`."""

    def __init__(self, workload: str) -> None:
        """Open the store: `MLFLOW_TRACKING_URI`, or a SQLite file in the main checkout."""
        self.workload = workload
        given = os.environ.get(store.ADDRESS, "")
        with store.opening(given):
            self.uri = store.address()
        with store.opening(self.uri), self.alone():
            self.client = store.open_client(self.uri)
            found = self.client.get_experiment_by_name(workload)
            if found is None:
                place = places.make(self.uri, workload)
                self.experiment = self.client.create_experiment(workload, place, _KIND_OF_WORK)
            elif found.lifecycle_stage == LifecycleStage.ACTIVE:
                self.experiment = found.experiment_id
                places.repair(self.uri, found)
            else:
                raise LockstepError(
                    f"MLflow at {store.shown(self.uri)}: experiment {workload!r} is deleted; "
                    f"`mlflow experiments restore --experiment-id {found.experiment_id}` brings "
                    "it back"
                )

    def in_one_line(self) -> AbstractContextManager[None]:
        """Inside, any failure of the store is a `LockstepError`."""
        return store.in_one_line(self.uri)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Look and create as one act: parallel experiments must not both create a run."""
        with exclusive(paths.scratch() / "mlflow.lock"):
            yield

    def follow(self, fingerprint: str, params: Mapping[str, Any]) -> Following:
        """The run of a training that begins or goes on."""
        with self.in_one_line():
            run_id = self._training_run(fingerprint, params)
            self.client.update_run(run_id, status="RUNNING")
            self._log_data(run_id, params)
            return Following(self, run_id, fingerprint)

    def record_training(
        self, fingerprint: str, params: Mapping[str, Any], history: History, metrics: Row
    ) -> str:
        """A finished training from what it left on disk; gives the run's id."""
        rows = [
            (int(row["step"]), {key: value for key, value in row.items() if key != "step"})
            for row in (*history.train, *history.validation)
        ]
        with self.in_one_line():
            run_id = self._training_run(fingerprint, params)
            self._log_data(run_id, params)
            following = Following(self, run_id, fingerprint)
            following.write_rows(rows)
            following.write_images()
            self._log_metrics(run_id, metrics)
            self._finish(run_id)
        pending.tidy(fingerprint)
        return run_id

    def record_evaluation(
        self,
        training_run: str,
        fingerprint: str,
        params: Mapping[str, Any],
        metrics: Row,
        images: Sequence[tuple[Path, str]],
        *,
        guided: bool = True,
        model: str | None = None,
    ) -> str:
        """An evaluation as a child of its training's run; gives the child's id.

        The training's run shows the metrics and images too, each of the latest evaluation that
        has it. `images` are files and the folders to show them in. `guided` is whether there
        is a condition, and `model` the id of what was evaluated.
        """
        name = _sampling_name(params, guided)
        with self.in_one_line():
            parent = {MLFLOW_PARENT_RUN_ID: training_run}
            child = self._find_or_create("evaluation", fingerprint, name, params, parent)
            if model is not None:
                self.client.log_inputs(child, models=[LoggedModelInput(model)])
            for run_id in (child, training_run):
                self._log_metrics(run_id, metrics, model if run_id == child else None)
                for path, folder in images:
                    self.client.log_artifact(run_id, str(path), folder)
            self._finish(child)
        return child

    def record_sweep(
        self,
        training_run: str,
        fingerprint: str,
        name: str,
        params: Mapping[str, Any],
        metrics: Row,
        points: Sequence[tuple[str, str, Mapping[str, Any], Row]],
        charts: Sequence[Path],
    ) -> None:
        """A sweep as a child of its training's run, and each of its points as a child of it.

        `points` are (name, fingerprint, parameters, metrics).
        """
        with self.in_one_line():
            parent = {MLFLOW_PARENT_RUN_ID: training_run}
            sweep = self._find_or_create("sweep", fingerprint, name, params, parent)
            self._log_metrics(sweep, metrics)
            for path in charts:
                self.client.log_artifact(sweep, str(path), _SWEEP)
            for title, identity, own, measured in points:
                within = {MLFLOW_PARENT_RUN_ID: sweep}
                point = self._find_or_create("sweep point", identity, title, own, within)
                self._log_metrics(point, measured)
                self._finish(point)
            self._finish(sweep)

    def _training_run(self, fingerprint: str, params: Mapping[str, Any]) -> str:
        experiment = os.environ.get("DVC_EXP_NAME")
        width = "-".join(map(str, params["model.channels"]))
        summary = f"lr {params['train.lr']:g}, {params['train.steps']} steps, width {width}"
        name = f"{experiment}: {summary}" if experiment else summary
        return self._find_or_create("training", fingerprint, name, params, {})

    def _find_or_create(
        self,
        kind: str,
        fingerprint: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        """The id of the run; it has the params, also if it was once cut off before it got them."""
        with self.alone():
            found = self.client.search_runs(
                [self.experiment],
                f"tags.`{FINGERPRINT}` = '{fingerprint}' and tags.`{KIND}` = '{kind}'",
                max_results=1,
            )
            if found:
                run = found[0]
            else:
                about = {FINGERPRINT: fingerprint, KIND: kind, **_provenance(), **tags}
                run = self.client.create_run(self.experiment, tags=about, run_name=name)
            known = run.data.params
            missing = [Param(key, as_text(v)) for key, v in params.items() if key not in known]
            for start in range(0, len(missing), _PARAMS):
                self.client.log_batch(run.info.run_id, params=missing[start : start + _PARAMS])
        run_id: str = run.info.run_id
        return run_id

    def _log_data(self, run_id: str, params: Mapping[str, Any]) -> None:
        data = data_of_training(self.workload, params)
        if data is None:
            return
        with self.alone():
            inputs = self.client.get_run(run_id).inputs
            if not (inputs and inputs.dataset_inputs):
                self.client.log_inputs(run_id, [data])
        # Always: what a person says of the images may be newer than the run.
        if (card := card_of(self.workload)) is not None:
            self.client.log_artifact(run_id, str(card), CARDS)

    def _log_metrics(self, run_id: str, metrics: Row, model: str | None = None) -> None:
        """Final metrics, each once: one that stands there already with that value is left.

        With `model` they are that model's metrics too.
        """
        current = self.client.get_run(run_id).data.metrics
        now = int(time.time() * 1000)
        new = [
            Metric(k, v, now, 0, model_id=model) for k, v in metrics.items() if current.get(k) != v
        ]
        if new:
            self.client.log_batch(run_id, metrics=new)

    def _finish(self, run_id: str) -> None:
        """End a run, unless it has ended: its duration is a metric too."""
        if self.client.get_run(run_id).info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED")


class Following:
    """The run of a training: what it has of the curves and images is not written twice."""

    def __init__(self, tracking: Tracking, run_id: str, fingerprint: str) -> None:
        self.tracking, self.run_id, self.fingerprint = tracking, run_id, fingerprint
        client = tracking.client
        self._written = {
            name: {point.step for point in client.get_metric_history(run_id, name)}
            for name in _CURVES
        }
        files = [file.path for file in client.list_artifacts(run_id, "images")]
        found = [re.match(rf"images/{_GRIDS}\+step\+(\d+)\+", path) for path in files]
        self._shown = {int(match[1]) for match in found if match}

    def write_rows(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Rows of the history, each with its step."""
        now = int(time.time() * 1000)
        new = [
            Metric(name, value, now, step)
            for step, values in rows
            for name, value in values.items()
            if step not in self._written[name]
        ]
        with self.tracking.in_one_line():
            for start in range(0, len(new), _METRICS):
                batch = new[start : start + _METRICS]
                self.tracking.client.log_batch(self.run_id, metrics=batch)
                for metric in batch:
                    self._written[metric.key].add(metric.step)

    def write_images(self) -> None:
        """All that are pending.

        MLflow shows the grids of all steps side by side; the strips are `1.png` and up in the
        step's own folder.
        """
        client = self.tracking.client
        for step, folder in pending.steps(self.fingerprint).items():
            if step not in self._shown:
                with self.tracking.in_one_line():
                    for strip in pending.strips(folder):
                        client.log_artifact(self.run_id, str(strip), f"{_STRIPS}/{step:09d}")
                    # Last: where there is a grid, there are the strips.
                    grid = read_rgb(pending.grid(folder))
                    client.log_image(self.run_id, grid, key=_GRIDS, step=step)
                self._shown.add(step)
            pending.remove(folder)

    def end(self, status: str) -> None:
        """It has ended: `FINISHED`, `FAILED` or `KILLED`."""
        with self.tracking.in_one_line():
            self.tracking.client.set_terminated(self.run_id, status)


def as_text(value: Any) -> str:
    """A parameter as one reads it and searches for it: text without quotes, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _sampling_name(params: Mapping[str, Any], guided: bool) -> str:
    """What a person would call this way of drawing."""
    parts = [params["sample.sampler"]]
    if params["sample.sampler"] == "ddim" and params.get("sample.eta"):
        parts[0] += f" eta {params['sample.eta']:g}"
    parts.append(f"{params['sample.steps']} steps")
    if guided:
        parts.append(f"guidance {params['sample.guidance_scale']:g}")
    if (weights := params.get("sample.weights", "ema")) != "ema":
        parts.append(f"weights {weights}")
    return ", ".join(parts)


def _provenance() -> dict[str, str]:
    """Tags that say where a run came from: git commit, DVC experiment."""
    tags = {
        "dvc.exp_name": os.environ.get("DVC_EXP_NAME"),
        "dvc.exp_baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "dvc.stage": os.environ.get("DVC_STAGE"),
    }
    # Not in a checkout the run just has no commit.
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        tags[MLFLOW_GIT_COMMIT] = done.stdout.strip()
    return {tag: value for tag, value in tags.items() if value}
