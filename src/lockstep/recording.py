"""Writes what stands on disk into MLflow: the model, its evaluation, the figures of both.

It needs nothing but a workload's outputs and metrics files, so it also rebuilds the runs in a
fresh clone, and after stages that DVC served from its cache without running them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lockstep import content, fingerprint, generator, history, paths
from lockstep.errors import LockstepError
from lockstep.tracking import Tracking


def record(workload: str) -> None:
    """Find or create the runs of the model and of its evaluation, and write them up to date.

    Raises
    ------
    LockstepError
        If outputs are missing, or the pictures were drawn by another model than the one here.
    """
    model = generator.describe(paths.model(workload))
    sampling = _read_json(paths.samples(workload) / "sampling.json")
    if sampling["model"] != model.fingerprint:
        raise LockstepError(
            f"{paths.samples(workload)}: drawn by another model than {paths.model(workload)}; "
            f"`dvc repro evaluate@{workload}`"
        )
    tracking = Tracking(workload)
    run = tracking.record_training(
        model.fingerprint,
        model.params,
        history.read(paths.plots(workload, "train")),
        _read_json(paths.metrics(workload, "train")),
    )
    metrics = {
        **_read_json(paths.metrics(workload, "judge")),
        **_read_json(paths.metrics(workload, "evaluate")),
    }
    params = {**model.params, **sampling["params"]}
    judge = content.sha256(paths.judge(workload))
    identity = fingerprint.of({"sampling": sampling, "judge": judge})
    shown = sorted(paths.plots(workload, "sample").glob("*.png"))
    tracking.record_evaluation(run, identity, params, metrics, shown)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` or `dvc pull` brings it") from None
