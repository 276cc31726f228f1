"""Writes what stands on disk into MLflow: the model, its evaluation, the metrics of both.

It needs nothing but a workload's outputs and metrics files, so it also rebuilds the runs after
stages that DVC served from its cache without running them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.models import Model

from lockstep.config.schema import is_guided
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import Cell, damage_named, read_csv, read_json
from lockstep.core.provenance import FILE as PROVENANCE
from lockstep.core.provenance import read_provenance
from lockstep.models import generator
from lockstep.tracking import export
from lockstep.tracking.registry import record_model
from lockstep.tracking.runs import EVALUATION, Tracking
from lockstep.training import history


def at_the_end(action: Callable[[], None]) -> None:
    """Record; a store that fails does not undo a stage whose metrics are all there."""
    try:
        action()
    except LockstepError as error:
        print(f"not in MLflow: {error}; `lockstep track` writes it later", file=sys.stderr)


def record(workload: str) -> None:
    """Find or create the runs of the model and of its evaluation, and write them up to date.

    Raises `LockstepError` if outputs are missing, or were made by another model than the one here.
    """
    model = generator.describe(paths.model(workload))
    sampling = read_provenance(paths.samples(workload))
    tracking = Tracking(workload)
    run = _training_run(tracking, workload, model)
    if sampling.inputs["model"] != model.fingerprint:
        raise LockstepError(
            f"{paths.samples(workload)}: the images here are another model's; `dvc repro "
            f"evaluate@{workload}`"
        )
    guide = _guide(workload, paths.samples(workload), f"evaluate@{workload}")
    evaluator = paths.evaluator(workload)
    compared = read_provenance(paths.reference(workload)).params
    evaluated = read_provenance(paths.tables(workload, "evaluate")).params
    about = {
        "sampling": {"model": model.fingerprint, "params": sampling.params},
        "evaluator": hashing.sha256(evaluator),
        "evaluated": evaluated,
        **_prompts(workload),
        **guide.identity,
    }
    identity = hashing.digest_of({**about, "reference": compared})
    params = {
        **model.params,
        **guide.params,
        **read_provenance(evaluator).params,
        **sampling.params,
        **compared,
        **evaluated,
    }
    metrics = {
        name: value
        for stage in ("collect", "autoencoder", "evaluator", "noisy_classifier", "evaluate")
        for name, value in read_json(paths.metrics(workload, stage)).items()
    }
    shown = [
        (image, EVALUATION)
        for stage in ("sample", "evaluate")
        for image in sorted(paths.plots(workload, stage).glob("*.png"))
    ]
    strips = paths.strips(workload)
    shown += [(animation, EVALUATION) for animation in strips.glob("*.gif")]
    shown += [(strip, f"{EVALUATION}/strips") for strip in sorted(strips.glob("*.png"))]
    settings = {
        name.removeprefix("sample."): value
        for name, value in sampling.params.items()
        if name.startswith("sample.")
    }

    def package_into(folder: Path, about: Model) -> None:
        try:
            export.write(folder, paths.model(workload), settings, about, guide.folder)
        except FileNotFoundError as error:
            raise LockstepError(f"{error.filename}: missing; `dvc checkout` restores it") from None

    logged, failed = None, None
    try:
        described = {**settings, **guide.identity}
        logged = record_model(tracking, run, model.fingerprint, described, package_into)
    except LockstepError as error:  # the metrics are not lost for want of a registry
        failed = error
    tracking.record_evaluation(
        run,
        identity,
        params,
        metrics,
        shown,
        guided=is_guided(model.condition, settings.get("guidance_weights")),
        model=logged,
    )
    if failed is not None:
        raise failed


@dataclass(frozen=True)
class _Guide:
    """The noisy classifier that guided: its folder, its hash by name, and its parameters.

    Where none did, there is nothing of it.
    """

    folder: Path | None = None
    identity: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


def _guide(workload: str, outputs: Path, target: str) -> _Guide:
    """What guided the images of which `outputs` are. Raises `LockstepError` if it is gone."""
    made = read_provenance(outputs).inputs.get("noisy_classifier")
    if made is None:
        return _Guide()
    folder = paths.noisy_classifier(workload)
    if not folder.exists() or hashing.sha256(folder) != made:
        raise LockstepError(
            f"{outputs}: guided by another noisy classifier than the one here; `dvc repro {target}`"
        )
    return _Guide(folder, {"noisy_classifier": made}, read_provenance(folder).params)


def record_sweep(workload: str, seconds: Mapping[str, Sequence[float]] | None = None) -> None:
    """Find or create the runs of a sweep, one for each setting, and write them up to date.

    `seconds` are those that an image took, for each table and row of it; they stand in no file.
    Raises `LockstepError` if outputs are missing, or were made by another model than the one here.
    """
    model = generator.describe(paths.model(workload))
    folder = paths.tables(workload, "sweep")
    sweep = read_provenance(folder)
    if sweep.inputs["model"] != model.fingerprint:
        raise LockstepError(f"{folder}: another model's; `dvc repro sweep@{workload}`")
    evaluator = paths.evaluator(workload)
    compared = read_provenance(paths.reference(workload)).params
    guide = _guide(workload, folder, f"sweep@{workload}")
    base = {
        **model.params,
        **guide.params,
        **read_provenance(evaluator).params,
        **compared,
        **sweep.params,
    }
    about = {
        "sweep": {"params": sweep.params, **sweep.inputs},
        "evaluator": hashing.sha256(evaluator),
        "reference": compared,
        **_prompts(workload),
        **guide.identity,
    }
    points, names = [], []
    for name, settings in sweep.inputs["settings"].items():
        if not settings:
            continue
        timed = (seconds or {}).get(name, [None] * len(settings))
        rows = read_csv(folder / f"{name}.csv")
        names.append(_range(name, rows))
        for setting, row, each in zip(settings, rows, timed, strict=True):
            metrics = {
                k: float(v)
                for k, v in row.items()
                if "accuracy" in k or k.startswith("fd_") or k == "evaluations"
            }
            if each is not None:
                metrics["seconds_per_image"] = each
            # Two tables may have a setting in common: each has its own run of it.
            identity = hashing.digest_of(
                {**about, "table": name, "setting": row["setting"], **setting}
            )
            points.append((_point(name, row), identity, {**base, **setting}, metrics))
    if not points:  # nothing was swept
        return
    tracking = Tracking(workload)
    tracking.record_sweep(
        _training_run(tracking, workload, model),
        hashing.digest_of(about),
        f"sweep: {'; '.join(names)}",
        base,
        read_json(paths.metrics(workload, "sweep")),
        points,
        sorted(paths.plots(workload, "sweep").glob("*.png")),
    )


def _prompts(workload: str) -> dict[str, dict[str, str]]:
    """The hashes of the files that say what is sampled, where a data set has any.

    They decide an evaluation, but not the model: a training does not read them.
    """
    described = ("dataset.json", PROVENANCE)
    files = sorted(paths.dataset(workload).glob("*.json"))
    found = {file.name: hashing.sha256(file) for file in files if file.name not in described}
    return {"prompts": found} if found else {}


def _range(table: str, rows: Sequence[Mapping[str, Cell]]) -> str:
    """What a person would call a table of a sweep."""
    if table == "settings":
        return f"{len(rows)} other setting{'s' if len(rows) > 1 else ''}"
    column = "guidance_scale" if table == "guidance" else "steps"
    values = [float(row[column]) for row in rows]
    spread = f"{min(values):g} to {max(values):g}"
    if table == "guidance":
        return f"guidance {spread}"
    return f"{', '.join(dict.fromkeys(str(row['setting']) for row in rows))} in {spread} steps"


def _point(table: str, row: Mapping[str, Cell]) -> str:
    """What a person would call a row of a sweep's table."""
    if table == "guidance":
        return f"guidance {float(row['guidance_scale']):g}"
    if table == "settings":
        return str(row["setting"])
    return f"{row['setting']}, {float(row['steps']):g} steps"


def _training_run(tracking: Tracking, workload: str, model: generator.Description) -> str:
    """The id of the run of the model here, with its curves."""
    plots = paths.plots(workload, "train")
    with damage_named(plots):
        curves = history.read(plots)
        reached = history.summary(curves)
    trained = read_json(paths.metrics(workload, "train"))
    if trained != reached:
        raise LockstepError(
            f"{paths.model(workload)}: the metrics here are another model's; `dvc repro "
            f"evaluate@{workload}`"
        )
    return tracking.record_training(model.fingerprint, model.params, curves, trained)
