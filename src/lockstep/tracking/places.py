"""Where the files of runs and models lie, also after the project was moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel, SqlRun
from sqlalchemy import create_engine, func, make_url, update
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.pool import NullPool

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.tracking import store

_COLUMNS: tuple[InstrumentedAttribute[Any], ...] = (
    SqlExperiment.artifact_location,
    SqlRun.artifact_uri,
    SqlLoggedModel.artifact_location,
    SqlModelVersion.storage_location,
)


def make(uri: str, workload: str) -> str | None:
    """The folder for a new experiment, made; none where a server keeps the store, and knows one.

    Absolute: experiments may run in another folder, and so may MLflow's page.
    """
    if not store.is_database(uri):
        return None
    folder = _folder(workload)
    folder.mkdir(parents=True, exist_ok=True)
    return folder.as_uri()


def repair(uri: str, experiment: Experiment) -> None:
    """Write into the project's own store where the files are now, if they were moved with it.

    A store knows the absolute place of each run's files. Where the project was copied, the copy
    gets places of its own; where without the files, the runs that are there keep those they have.

    Raises
    ------
    LockstepError
        The store is not in the project, and the files' folder is not on this machine.
    """
    place = urlsplit(experiment.artifact_location or "")
    old, new = Path(unquote(place.path)), _folder(experiment.name)
    ours = place.scheme == "file" and old.parts[-2:] == new.parts[-2:]
    if not (store.is_database(uri) and ours) or old == new:
        return
    if _is_in_project(uri):
        _move(uri, old.parent, new.parent, runs=new.exists() or not old.exists())
    elif not old.exists():
        raise LockstepError(
            f"MLflow at {store.shown(uri)}: the files of experiment {experiment.name!r} are in "
            f"{old}, which is not here; move them back, or keep its name free with `mlflow "
            f"experiments rename --experiment-id {experiment.experiment_id} --new-name NAME`"
        )


def _folder(workload: str) -> Path:
    return paths.home() / "mlartifacts" / workload


def _is_in_project(uri: str) -> bool:
    url = make_url(uri)
    file = Path(url.database or "")
    return url.get_backend_name() == "sqlite" and file.resolve().is_relative_to(paths.home())


def _move(uri: str, old: Path, new: Path, *, runs: bool) -> None:
    """Every place below `old` is one below `new`; without `runs` only those of later runs."""
    before, after = (f"{folder.as_uri()}/" for folder in (old, new))
    engine = create_engine(uri, poolclass=NullPool)
    with engine.begin() as connection:
        for column in _COLUMNS if runs else _COLUMNS[:1]:
            connection.execute(
                update(column.class_)
                .where(column.startswith(before, autoescape=True))
                .values({column: func.replace(column, before, after)})
            )
