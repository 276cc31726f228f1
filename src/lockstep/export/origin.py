"""Whether a workload's model and its metrics are those that the project stands for now."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.core.provenance import FILE, read_provenance
from lockstep.report import settings
from lockstep.tracking import dvc_lock
from lockstep.tracking.dvc_lock import Lock


def check_model(params: Params, classifier: Path | None = None) -> Lock:
    """What dvc.lock says, if it does not speak against the model on disk.

    Nor against the folder of the noisy classifier that guides it, if one does.

    Raises
    ------
    LockstepError
        If nothing is trained, the data or code before the training is newer, params.yaml has other
        values than the model's provenance, or its files are not those that dvc.lock has.
    """
    workload = params.workload
    model, target = paths.model(workload), f"train@{workload}"
    if not (model / "model.json").is_file():
        raise LockstepError(f"{model}: not trained; `dvc repro {target}` trains it")
    lock = dvc_lock.load()
    if anew := lock.outdated(target):
        raise LockstepError(
            f"{model}: outdated, since {', '.join(anew)} was made anew after the training; "
            f"`dvc repro {target}`"
        )
    made_by = {model: target}
    if classifier is not None:
        made_by[classifier] = f"noisy_classifier@{workload}"
    for folder, stage in made_by.items():
        for setting in settings.stale(params, [folder]):
            if setting.name != "threads":  # another machine may have others
                raise LockstepError(
                    f"{folder}: outdated, since {paths.PARAMS} has {setting.name}: {setting.value} "
                    f"and it was made with {setting.before}; `dvc repro {stage}`, or set that back"
                )
    for folder, stage in made_by.items():
        expected = lock.made.get(folder.as_posix())
        if expected is not None and folder.exists() and dvc_hash(folder) != expected:
            raise LockstepError(
                f"{folder}: not the model that dvc.lock has; `dvc checkout {folder}` brings that "
                f"back, `dvc repro {stage}` trains it"
            )
    return lock


def is_evaluated(params: Params, fingerprint: str, lock: Lock) -> bool:
    """Whether the metrics and images on disk are of the model, sampled as `params` say.

    They are those that dvc.lock has, nothing before them is newer, and the images' provenance names
    the training's fingerprint and these values of `sample`.
    """
    workload, target = params.workload, f"evaluate@{params.workload}"
    samples = paths.samples(workload)
    if lock.outdated(target) or not (samples / FILE).exists():
        return False
    made = read_provenance(samples)
    wanted = {"model": fingerprint, **params.deciding("sample")}
    if params.sample.classifier_scale:
        wanted["noisy_classifier"] = hashing.sha256(paths.noisy_classifier(workload))
    if any({**made.params, **made.inputs}.get(name) != value for name, value in wanted.items()):
        return False
    shown = paths.metrics(workload, "evaluate"), paths.plots(workload, "sample")
    return all(path.exists() and dvc_hash(path) == lock.made.get(path.as_posix()) for path in shown)


def dvc_hash(path: Path) -> str:
    """The MD5 that DVC gives a file, or a folder: that of the list of its files and theirs."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = {each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()}
    listed = [{"md5": dvc_hash(file), "relpath": name} for name, file in sorted(files.items())]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"
