"""The same pictures drawn with one setting after another: what each setting buys."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lockstep import charts, content, distributed, fingerprint, paths, prompts, records
from lockstep import device as hardware
from lockstep.collect.code import digest_of_code
from lockstep.dataset import open_dataset
from lockstep.evaluation import accuracy, classifier, reference, spaces
from lockstep.evaluation.frechet import frechet_distance
from lockstep.generator import Description
from lockstep.params import Params, Sample
from lockstep.pixels import to_bytes
from lockstep.sampling import Trained, sample_together

Row = dict[str, Any]

_SECONDS = "seconds"

# What `sweep.samplers` names: the sampler, and its eta.
_SAMPLERS: dict[str, dict[str, Any]] = {
    "ddpm": {"sampler": "ddpm"},
    "ddim": {"sampler": "ddim", "eta": 0.0},
    "ddim_eta_1": {"sampler": "ddim", "eta": 1.0},
    "dpmpp_2m": {"sampler": "dpmpp_2m"},
}


def guidance_settings(params: Params) -> list[tuple[str, Sample]]:
    """`params.sample` with each guidance scale of the sweep, and what tells it from the others."""
    return [
        (f"{scale:g}", dataclasses.replace(params.sample, guidance_scale=scale))
        for scale in params.sweep.guidance_scales
    ]


def sampler_settings(params: Params) -> list[tuple[str, Sample]]:
    """`params.sample` with each sampler and number of steps of the sweep; the sampler's name."""
    counts = [params.diffusion.timesteps if n == "all" else n for n in params.sweep.steps]
    return [
        (name, dataclasses.replace(params.sample, **_SAMPLERS[name], steps=steps))
        for name in params.sweep.samplers
        for steps in dict.fromkeys(counts)
    ]


# The code that decides a row.
_CODE = (
    "dataset.py",
    "device.py",
    "diffusion",
    "distributed.py",
    "evaluation",
    "generator.py",
    "labels.py",
    "pixels.py",
    "prompts.py",
    "sampling.py",
    "unet",
    "weights.py",
)


def identity(params: Params, description: Description) -> str:
    """From all that decides a row besides its setting."""
    folders = (paths.dataset, paths.judge, paths.reference)
    return fingerprint.of(
        {
            "model": description.fingerprint,
            "weights": params.sample.weights,
            "seeds": seeds(params),
            "threads": params.threads,
            "data": [content.sha256(folder(params.workload)) for folder in folders],
            "code": digest_of_code(*_CODE),
            "device": hardware.device().type,
            "versions": {name: version(name) for name in ("torch", "numpy")},
        }
    )


def seeds(params: Params) -> tuple[int, ...]:
    """Those of `evaluate.seeds` that every setting is drawn with."""
    return params.evaluate.seeds[: params.sweep.seeds]


def changes(base: Sample, setting: Sample) -> dict[str, Any]:
    """In what a setting differs from the base: `{"sample.steps": 5}`."""
    own, others = dataclasses.asdict(base), dataclasses.asdict(setting)
    return {f"sample.{name}": others[name] for name in own if own[name] != others[name]}


def measure(
    params: Params,
    trained: Trained,
    settings: Iterable[tuple[str, Sample]],
    kept: Path,
) -> tuple[list[Row], list[float]]:
    """A row for each setting, and the seconds that its drawing took, a picture.

    What was measured is put into the folder `kept`, and what is there is not measured again.

    The rows have the name, `guidance_scale` and `steps` of the setting, for each set that is asked
    for its accuracy (the mean over the first `sweep.seeds` of `evaluate.seeds`), the Fréchet
    distance of all the pictures, and their number. All processes take part, and each gets the rows.

    Raises
    ------
    LockstepError
        If judge, reference or label files are missing or do not fit each other.
    """
    with distributed.together():
        asked = prompts.of_labels(params).sets
        judge = classifier.load(paths.judge(params.workload), asked[0].conditions.shape[1])
        space = spaces.own(params, open_dataset(paths.dataset(params.workload)))
        theirs = reference.load(paths.reference(params.workload) / f"{space.name}.npz")

    def measured(setting: Sample) -> Row:
        found: Row = {f"accuracy_{wanted.name}": [] for wanted in asked}
        drawn = []
        began = time.perf_counter()
        for seed in seeds(params):
            for wanted in asked:
                some = sample_together(trained, setting, wanted.conditions, seed=seed)
                drawn.append((wanted, some))
        passed = time.perf_counter() - began
        for wanted, some in drawn:
            labels = wanted.conditions.to(torch.uint8)
            scores = classifier.scores(judge, some)
            found[f"accuracy_{wanted.name}"].append(accuracy.top_k_accuracy(scores, labels))
        ours = reference.see(space.features(to_bytes(torch.cat([some for _, some in drawn]))))
        return {
            "guidance_scale": setting.guidance_scale,
            "steps": setting.steps,
            **{key: fmean(values) for key, values in found.items()},
            space.frechet: frechet_distance(ours.normal, theirs.normal),
            "n_generated": ours.count,
            _SECONDS: passed / ours.count,
        }

    rows, seconds = [], []
    for name, setting in settings:
        path = kept / f"{fingerprint.of(dataclasses.asdict(setting))}.json"
        known = records.read(path) if distributed.is_main() and path.exists() else None
        row = distributed.from_main(known) or measured(setting)
        if distributed.is_main():
            records.write(path, row)
        seconds.append(row.pop(_SECONDS))
        rows.append({"setting": name, **row})
    return rows, seconds


def best(rows: Sequence[Row]) -> dict[str, float]:
    """The guidance scale of the best mean of the accuracies, and what it gave; first of equals."""
    winner = max(rows, key=mean_accuracy)
    accuracies = {f"best_{k}": v for k, v in winner.items() if k.startswith("accuracy_")}
    return {"best_guidance_scale": winner["guidance_scale"], **accuracies}


def by_steps(rows: Sequence[Row], figure: Callable[[Row], float]) -> list[Row]:
    """A row for each number of steps, a column for each sampler: DVC plots columns as lines."""
    names = list(dict.fromkeys(row["setting"] for row in rows))
    found = {(row["steps"], row["setting"]): figure(row) for row in rows}
    counts = sorted({row["steps"] for row in rows})
    return [{"steps": n, **{name: found[n, name] for name in names}} for n in counts]


def mean_accuracy(row: Row) -> float:
    """Over the sets that were asked for."""
    return fmean(value for key, value in row.items() if key.startswith("accuracy_"))


def distance(row: Row) -> float:
    """The Fréchet distance, whatever the space."""
    return next(float(value) for key, value in row.items() if key.startswith("fd_"))


def guidance_chart(rows: Sequence[Row]) -> bytes:
    """A PNG: accuracies and Fréchet distance over the guidance scale."""
    ordered = sorted(rows, key=lambda row: row["guidance_scale"])
    columns = {key: [row[key] for row in ordered] for key in ordered[0]}
    return charts.lines(
        columns["guidance_scale"],
        {key: values for key, values in columns.items() if key.startswith("accuracy_")},
        x_label="guidance scale",
        y_label="accuracy",
        right={key: values for key, values in columns.items() if key.startswith("fd_")},
        right_label="Fréchet distance",
    )


def steps_chart(rows: Sequence[Row], y_label: str) -> bytes:
    """A PNG of what `by_steps` gives."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    steps = columns.pop("steps")
    return charts.lines(steps, columns, x_label="steps", y_label=y_label)
