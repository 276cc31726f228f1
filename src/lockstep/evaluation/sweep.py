"""The same pictures drawn with one setting after another: what each setting buys."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from lockstep import (
    captions,
    charts,
    content,
    distributed,
    fingerprint,
    paths,
    prompts,
    reading,
    records,
    truth,
)
from lockstep import device as hardware
from lockstep.collect.code import digest_of_code
from lockstep.dataset import open_dataset
from lockstep.evaluation import (
    accuracy,
    classifier,
    reference,
    scene_figures,
    scene_judge,
    spaces,
)
from lockstep.evaluation.frechet import frechet_distance
from lockstep.generator import Description
from lockstep.params import Params, Sample
from lockstep.pixels import to_bytes
from lockstep.prompts import Prompts
from lockstep.sampling import Trained, sample_together

Row = dict[str, Any]
# What the pictures (N, 3, H, W) drawn for a set say of it, by the names of a row's columns.
Score: TypeAlias = Callable[[Prompts, Tensor], dict[str, float]]
_T = TypeVar("_T")

_SECONDS = "seconds"
# Of what the judge of scenes says, the columns of a row.
_OF_SENTENCES = ("object_accuracy", "binding_accuracy", "relation_accuracy")

# What `mean_accuracy` is called.
ACCURACY = {"iclevr": "mean accuracy", "captions": "object accuracy"}

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
CODE = (
    "autoencoder",
    "captions.py",
    "dataset.py",
    "device.py",
    "diffusion",
    "distributed.py",
    "evaluation",
    "generator.py",
    "labels.py",
    "pixels.py",
    "prompts.py",
    "reading.py",
    "sampling.py",
    "standins/camera.py",
    "standins/scenes.py",
    "text",
    "truth.py",
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
            "code": digest_of_code(*CODE),
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

    The rows have the name, `guidance_scale` and `steps` of the setting, the accuracies (means over
    the first `sweep.seeds` of `evaluate.seeds`; none where it is not known what is asked for), the
    Fréchet distance of all the pictures, and their number. All processes take part, and each gets
    the rows.

    Raises
    ------
    LockstepError
        If judge, reference, label or caption files are missing or do not fit each other.
    """
    with distributed.together():
        asked, score = _SUBJECTS[params.workload](params)
        space = spaces.own(params, open_dataset(paths.dataset(params.workload)))
        theirs = reference.load(paths.reference(params.workload) / f"{space.name}.npz")

    def measured(setting: Sample) -> Row:
        found: dict[str, list[float]] = defaultdict(list)
        pictures = []
        passed = 0.0
        for seed in seeds(params):
            for wanted in asked:
                began = time.perf_counter()
                drawn = sample_together(trained, setting, wanted.conditions, seed=seed)
                passed += time.perf_counter() - began
                for name, value in score(wanted, drawn).items():
                    found[name].append(value)
                pictures.append(to_bytes(drawn))
        ours = reference.see(space.features(np.concatenate(pictures)))
        return {
            "guidance_scale": setting.guidance_scale,
            "steps": setting.steps,
            **{name: fmean(values) for name, values in found.items()},
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


def _labels(params: Params) -> tuple[Sequence[Prompts], Score]:
    """The sets of labels, and for each the accuracy that the evaluator finds."""
    sets = prompts.of_labels(params).sets
    judge = classifier.load(paths.judge(params.workload), sets[0].conditions.shape[1])

    def score(wanted: Prompts, drawn: Tensor) -> dict[str, float]:
        scores, labels = classifier.scores(judge, drawn), wanted.conditions.to(torch.uint8)
        return {f"accuracy_{wanted.name}": accuracy.top_k_accuracy(scores, labels)}

    return sets, score


def _sentences(params: Params) -> tuple[Sequence[Prompts], Score]:
    """The test prompts, and what the judge of scenes finds of what they state, if that is known."""
    folder = paths.dataset(params.workload)
    sets, known = reading.of_captions(params).sets, truth.read(folder)
    if known is None:
        return sets, lambda wanted, drawn: {}
    judge = scene_judge.load(paths.judge(params.workload))
    stated = [known.test[name] for name in captions.read_test(folder / captions.TEST)]

    def score(wanted: Prompts, drawn: Tensor) -> dict[str, float]:
        figures = scene_figures.of_pictures(scene_judge.look(judge, to_bytes(drawn)), stated)
        return {name: figures[name] for name in _OF_SENTENCES if name in figures}

    return sets, score


# What a workload's sweep draws, and how that is scored.
_SUBJECTS = {"iclevr": _labels, "captions": _sentences}


def best(rows: Sequence[Row]) -> dict[str, float]:
    """The guidance scale of the best `mean_accuracy`, and what it gave; first of equals.

    Without accuracies it is that of the least distance.
    """
    if accuracies(rows[0]):
        winner, figures = max(rows, key=mean_accuracy), accuracies
    else:
        winner, figures = min(rows, key=distance), distances
    gave = {f"best_{name}": value for name, value in figures(winner).items()}
    return {"best_guidance_scale": winner["guidance_scale"], **gave}


def by_steps(rows: Sequence[Row], figure: Callable[[Row], float]) -> list[Row]:
    """A row for each number of steps, a column for each sampler: DVC plots columns as lines."""
    names = list(dict.fromkeys(row["setting"] for row in rows))
    found = {(row["steps"], row["setting"]): figure(row) for row in rows}
    counts = sorted({row["steps"] for row in rows})
    return [{"steps": n, **{name: found[n, name] for name in names}} for n in counts]


def accuracies(columns: Mapping[str, _T]) -> dict[str, _T]:
    """Those of a row or a table; empty where nobody knows what pictures should show."""
    return {name: value for name, value in columns.items() if "accuracy" in name}


def distances(columns: Mapping[str, _T]) -> dict[str, _T]:
    """The Fréchet distance of a row or a table, whatever the space."""
    return {name: value for name, value in columns.items() if name.startswith("fd_")}


def mean_accuracy(row: Row) -> float:
    """Over the sets of labels; of sentences it is that of the objects, which all of them name."""
    return fmean(v for name, v in row.items() if name.startswith(("accuracy_", "object_accuracy")))


def distance(row: Row) -> float:
    """The Fréchet distance, whatever the space."""
    (found,) = distances(row).values()
    return float(found)


def guidance_chart(rows: Sequence[Row]) -> bytes:
    """A PNG: accuracies, where there are any, and Fréchet distance over the guidance scale."""
    ordered = sorted(rows, key=lambda row: row["guidance_scale"])
    columns = {key: [row[key] for row in ordered] for key in ordered[0]}
    scales, far = columns["guidance_scale"], distances(columns)
    if not (shown := accuracies(columns)):
        return charts.lines(scales, far, x_label="guidance scale", y_label="Fréchet distance")
    # The axis says what they are: four whole names have no room above the picture.
    named = {name.removesuffix("_accuracy"): values for name, values in shown.items()}
    return charts.lines(
        scales,
        named,
        x_label="guidance scale",
        y_label="accuracy",
        right=far,
        right_label="Fréchet distance",
    )


def steps_chart(rows: Sequence[Row], y_label: str) -> bytes:
    """A PNG of what `by_steps` gives."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    steps = columns.pop("steps")
    return charts.lines(steps, columns, x_label="steps", y_label=y_label)
