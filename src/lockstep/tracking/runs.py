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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lockstep.core import paths
from lockstep.core.errors import LockstepError, Stopped
from lockstep.core.lock import exclusive
from lockstep.training.history import History, Row

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A server that is away must not hold a training up for minutes at each row.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
logging.getLogger("alembic").setLevel(logging.WARNING)
# It says when it starts and stops, and when the store fails, which stops no training.
logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import (  # noqa: E402
    LifecycleStage,
    LoggedModel,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
)
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import Model  # noqa: E402
from mlflow.store.db.db_types import DATABASE_ENGINES  # noqa: E402
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_MODEL_VERSIONS, MLFLOW_PARENT_RUN_ID  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from lockstep.tracking.live import CARDS, GRIDS, Live, card_of, data_of_training, machine_watched  # noqa: E402

FINGERPRINT = "lockstep.training.fingerprint"  # the name of a tag, not of a module
KIND = "lockstep.kind"
_CURVES = ("loss", "lr", "val_loss")
# The store's limits for one batch.
_METRICS, _PARAMS = 1000, 100

# Without it the page takes the project for one that asks language models.
_KIND_OF_WORK = {"mlflow.experimentKind": "custom_model_development"}
_ABOUT_MODEL = (
    "Draws images: `mlflow.pyfunc.load_model(uri).predict(rows)`, an image a row, from the "
    "columns of its signature."
)


class Tracking:
    """The runs of one workload in the store. Any failure of the store is a `LockstepError`."""

    def __init__(self, workload: str) -> None:
        """Open the store: `MLFLOW_TRACKING_URI`, or a SQLite file in the main checkout."""
        self.workload = workload
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
        if (file := self.uri.removeprefix("sqlite:///")) != self.uri:
            # DVC's copies of the project are deleted: the file is the main checkout's.
            self.uri = f"sqlite:///{paths.home() / file}"
        location = None
        if self.uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES:
            # Absolute: experiments may run in another folder, and so may the UI.
            location = (paths.home() / "mlartifacts" / workload).as_uri()
        with self._in_one_line(), self._alone():
            self.client = MlflowClient(self.uri)
            found = self.client.get_experiment_by_name(workload)
            if found is None:
                self.experiment = self.client.create_experiment(workload, location, _KIND_OF_WORK)
            elif found.lifecycle_stage == LifecycleStage.ACTIVE:
                self.experiment = found.experiment_id
            else:
                raise LockstepError(
                    f"MLflow at {self.uri}: experiment {workload!r} is deleted; `mlflow "
                    f"experiments restore --experiment-id {found.experiment_id}` brings it back"
                )

    @contextmanager
    def training(self, fingerprint: str, params: Mapping[str, Any]) -> Iterator[Live]:
        """The run of a training while it goes on."""
        with self._in_one_line():
            run_id = self._training_run(fingerprint, params)
            self.client.update_run(run_id, status="RUNNING")
            self._log_data(run_id, params)
            written = self._written_steps(run_id)

            def write(step: int, values: Row) -> None:
                self._log_rows(run_id, [(step, values)], written)

            live = Live(self.client, run_id, write, self._shown_steps(run_id), self._in_one_line)
        try:
            with machine_watched(self.uri, run_id):
                yield live
        except BaseException as error:
            stopped = isinstance(error, Stopped | KeyboardInterrupt | SystemExit)
            self._end(run_id, "KILLED" if stopped else "FAILED")
            raise
        self._end(run_id, "FINISHED")

    def _end(self, run_id: str, status: str) -> None:
        """A store that fails now hides neither the training's error nor its success."""
        try:
            with self._in_one_line():
                self.client.set_terminated(run_id, status)
        except LockstepError as error:
            print(f"the run's end is not in MLflow: {error}", file=sys.stderr)

    def record_training(
        self, fingerprint: str, params: Mapping[str, Any], history: History, metrics: Row
    ) -> str:
        """A finished training from what it left on disk; gives the run's id."""
        rows = [
            (int(row["step"]), {key: value for key, value in row.items() if key != "step"})
            for row in (*history.train, *history.validation)
        ]
        with self._in_one_line():
            run_id = self._training_run(fingerprint, params)
            self._log_data(run_id, params)
            self._log_rows(run_id, rows, self._written_steps(run_id))
            self._log_metrics(run_id, metrics)
            self._finish(run_id)
        return run_id

    def record_model(
        self,
        training_run: str,
        fingerprint: str,
        settings: Mapping[str, Any],
        package: Callable[[Path, Model], None],
    ) -> str | None:
        """A training's model, a version of `lockstep-<workload>`.

        `settings` say how it draws, and `package` writes it into a folder. A training has one
        version for each of its weights that is drawn with, which keeps the settings that it came
        with. Gives the model's id if those are the ones given.
        """
        name = f"lockstep-{self.workload}"
        with self._in_one_line(), self._alone():
            model = self._logged_model(training_run, fingerprint, settings, package)
            mine = f"name = '{name}' and run_id = '{training_run}'"
            source = f"models:/{model.model_id}"
            if source not in {found.source for found in self.client.search_model_versions(mine)}:
                if not self.client.search_registered_models(f"name = '{name}'", max_results=1):
                    self.client.create_registered_model(name, description=_ABOUT_MODEL)
                version = self.client.create_model_version(
                    name,
                    source,
                    training_run,
                    tags={FINGERPRINT: fingerprint},
                    description=self.client.get_run(training_run).info.run_name,
                    model_id=model.model_id,
                )
                versions = json.dumps([{"name": name, "version": version.version}])
                self.client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: versions})
        same = model.params == {name: _text(value) for name, value in settings.items()}
        return str(model.model_id) if same else None

    def _logged_model(
        self,
        run_id: str,
        fingerprint: str,
        settings: Mapping[str, Any],
        package: Callable[[Path, Model], None],
    ) -> LoggedModel:
        found = self.client.search_logged_models([self.experiment], f"source_run_id = '{run_id}'")
        for model in found:
            if model.params.get("weights") != _text(settings["weights"]):
                continue
            if model.status == LoggedModelStatus.READY:
                return model
            # Cut off before it was whole.
            self.client.delete_logged_model(model.model_id)
        model = self.client.create_logged_model(
            self.experiment,
            f"lockstep-{self.workload}",
            run_id,
            tags={FINGERPRINT: fingerprint},
            params={name: _text(value) for name, value in settings.items()},
        )
        about = Model(
            artifact_path=model.artifact_location,
            run_id=run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            package(folder, about)
            self.client.log_model_artifacts(model.model_id, str(folder))
        model = self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model

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
        with self._in_one_line():
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
        with self._in_one_line():
            parent = {MLFLOW_PARENT_RUN_ID: training_run}
            sweep = self._find_or_create("sweep", fingerprint, name, params, parent)
            self._log_metrics(sweep, metrics)
            for path in charts:
                self.client.log_artifact(sweep, str(path), "images")
            for title, identity, own, figures in points:
                within = {MLFLOW_PARENT_RUN_ID: sweep}
                point = self._find_or_create("sweep point", identity, title, own, within)
                self._log_metrics(point, figures)
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
        with self._alone():
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
            missing = [Param(key, _text(v)) for key, v in params.items() if key not in known]
            for start in range(0, len(missing), _PARAMS):
                self.client.log_batch(run.info.run_id, params=missing[start : start + _PARAMS])
        run_id: str = run.info.run_id
        return run_id

    def _log_data(self, run_id: str, params: Mapping[str, Any]) -> None:
        data = data_of_training(self.workload, params)
        if data is None:
            return
        with self._alone():
            inputs = self.client.get_run(run_id).inputs
            if not (inputs and inputs.dataset_inputs):
                self.client.log_inputs(run_id, [data])
        # Always: what a person says of the images may be newer than the run.
        if (card := card_of(self.workload)) is not None:
            self.client.log_artifact(run_id, str(card), CARDS)

    def _written_steps(self, run_id: str) -> dict[str, set[int]]:
        return {
            name: {point.step for point in self.client.get_metric_history(run_id, name)}
            for name in _CURVES
        }

    def _shown_steps(self, run_id: str) -> set[int]:
        files = [file.path for file in self.client.list_artifacts(run_id, "images")]
        found = [re.match(rf"images/{GRIDS}\+step\+(\d+)\+", path) for path in files]
        return {int(match[1]) for match in found if match}

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
        for start in range(0, len(new), _METRICS):
            self.client.log_batch(run_id, metrics=new[start : start + _METRICS])
        for metric in new:
            written[metric.key].add(metric.step)

    def _log_metrics(self, run_id: str, metrics: Row, model: str | None = None) -> None:
        """Final figures, each once: one that stands there already with that value is left.

        With `model` they are that model's figures too.
        """
        current = self.client.get_run(run_id).data.metrics
        now = int(time.time() * 1000)
        new = [
            Metric(k, v, now, 0, model_id=model) for k, v in metrics.items() if current.get(k) != v
        ]
        if new:
            self.client.log_batch(run_id, metrics=new)

    def _finish(self, run_id: str) -> None:
        """End a run, unless it has ended: its duration is a figure too."""
        if self.client.get_run(run_id).info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED")

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        try:
            yield
        # ImportError: SQLAlchemy loads the driver of a database when it is asked for.
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise LockstepError(
                f"MLflow at {self.uri}: {reason}; is MLFLOW_TRACKING_URI right?"
            ) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Look and create as one act: parallel experiments must not both create a run."""
        with exclusive(paths.scratch() / "mlflow.lock"):
            yield


def _text(value: Any) -> str:
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
