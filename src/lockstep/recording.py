"""Writes what stands on disk into MLflow: the model, its evaluation, the figures of both.

It needs nothing but a workload's outputs and metrics files, so it also rebuilds the runs after
stages that DVC served from its cache without running them.
"""

from __future__ import annotations

from lockstep import content, fingerprint, generator, history, paths, records
from lockstep.errors import LockstepError
from lockstep.tracking import Tracking


def record(workload: str) -> None:
    """Find or create the runs of the model and of its evaluation, and write them up to date.

    Raises
    ------
    LockstepError
        If outputs are missing, or were made by another model than the one here.
    """
    model = generator.describe(paths.model(workload))
    curves = history.read(paths.plots(workload, "train"))
    trained = records.read(paths.metrics(workload, "train"))
    sampling = records.read(paths.samples(workload) / "sampling.json")
    if sampling["model"] != model.fingerprint or trained != history.summary(curves):
        raise LockstepError(
            f"{paths.model(workload)}: the pictures or figures here are another model's; "
            f"`dvc repro evaluate@{workload}`"
        )
    tracking = Tracking(workload)
    run = tracking.record_training(model.fingerprint, model.params, curves, trained)
    judge = paths.judge(workload)
    identity = fingerprint.of({"sampling": sampling, "judge": content.sha256(judge)})
    params = {**model.params, **records.read(judge / paths.JUDGE), **sampling["params"]}
    collected = paths.metrics(workload, "crop")
    metrics = {
        **(records.read(collected) if collected.exists() else {}),
        **records.read(paths.metrics(workload, "judge")),
        **records.read(paths.metrics(workload, "evaluate")),
    }
    shown = sorted(paths.plots(workload, "sample").glob("*.png"))
    tracking.record_evaluation(run, identity, params, metrics, shown)
