"""Models in MLflow's registry: a training's weights, each kind once, as a version with its run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from lockstep.tracking.runs import FINGERPRINT, Tracking, as_text
from lockstep.tracking.store import used_everywhere

_ABOUT = (
    "Draws images: `mlflow.pyfunc.load_model(uri).predict(rows)`, an image a row, from the "
    "columns of its signature."
)
_PAGE = "On a page in the browser: `lockstep app {}`, in the project's folder."


def record_model(
    tracking: Tracking,
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
    name, client = f"lockstep-{tracking.workload}", tracking.client
    with tracking.in_one_line(), tracking.alone():
        model = _logged_model(tracking, training_run, fingerprint, settings, package)
        mine = f"name = '{name}' and run_id = '{training_run}'"
        source = f"models:/{model.model_id}"
        if source not in {found.source for found in client.search_model_versions(mine)}:
            if not client.search_registered_models(f"name = '{name}'", max_results=1):
                client.create_registered_model(name, description=_ABOUT)
            page = _PAGE.format(tracking.workload)
            about = f"{client.get_run(training_run).info.run_name}\n\n{page}"
            with used_everywhere(tracking.uri):  # the registry looks the model up by itself
                version = client.create_model_version(
                    name,
                    source,
                    training_run,
                    tags={FINGERPRINT: fingerprint},
                    description=about,
                    model_id=model.model_id,
                )
            versions = json.dumps([{"name": name, "version": version.version}])
            client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: versions})
    same = model.params == {name: as_text(value) for name, value in settings.items()}
    return str(model.model_id) if same else None


def _logged_model(
    tracking: Tracking,
    run_id: str,
    fingerprint: str,
    settings: Mapping[str, Any],
    package: Callable[[Path, Model], None],
) -> LoggedModel:
    client = tracking.client
    found = client.search_logged_models([tracking.experiment], f"source_run_id = '{run_id}'")
    for model in found:
        if model.params.get("weights") != as_text(settings["weights"]):
            continue
        if model.status == LoggedModelStatus.READY:
            files = client.list_logged_model_artifacts(model.model_id)
            if not any(file.path == MLMODEL_FILE_NAME for file in files):  # somebody deleted them
                _log_files(tracking, model, package)
            return model
        # Cut off before it was whole.
        client.delete_logged_model(model.model_id)
    model = client.create_logged_model(
        tracking.experiment,
        f"lockstep-{tracking.workload}",
        run_id,
        tags={FINGERPRINT: fingerprint},
        params={name: as_text(value) for name, value in settings.items()},
    )
    _log_files(tracking, model, package)
    model = client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _log_files(
    tracking: Tracking, model: LoggedModel, package: Callable[[Path, Model], None]
) -> None:
    about = Model(
        artifact_path=model.artifact_location,
        run_id=model.source_run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        package(folder, about)
        tracking.client.log_model_artifacts(model.model_id, str(folder))
