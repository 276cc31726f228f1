"""The same images generated with one setting after another: what each setting buys."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure

from lockstep.config.schema import Params, Sample
from lockstep.core import device as hardware
from lockstep.core import distributed, hashing, paths
from lockstep.core.code import digest_of_code
from lockstep.core.files import read_json, write_json
from lockstep.core.pixels import to_bytes
from lockstep.data.dataset import open_dataset
from lockstep.evaluation import evaluators, reference
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.evaluation.frechet import frechet_distance
from lockstep.models.generator import Description
from lockstep.sampling import conditions
from lockstep.sampling.conditions import condition_of
from lockstep.sampling.sample import Trained, sample_together

Row = dict[str, Any]
Line = tuple[Sequence[float], Sequence[float]]  # x, y
_T = TypeVar("_T")

_SECONDS = "seconds"
# What `sweep.samplers` names: the sampler, and its eta.
_SAMPLERS: dict[str, dict[str, Any]] = {
    "ddpm": {"sampler": "ddpm"},
    "ddim": {"sampler": "ddim", "eta": 0.0},
    "ddim_eta_1": {"sampler": "ddim", "eta": 1.0},
    "dpmpp_2m": {"sampler": "dpmpp_2m"},
    "euler": {"sampler": "euler"},
    "heun": {"sampler": "heun"},
}


def guidance_settings(params: Params) -> list[tuple[str, Sample]]:
    """`params.sample` with each guidance scale of the sweep, and what tells it from the others.

    None where nothing guides: without a condition, and without `sample.guidance_weights`.
    """
    if not params.is_guided:
        return []
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


def other_settings(params: Params) -> list[tuple[str, Sample]]:
    """`params.sample` with each of `sweep.settings`, and what that is: `eta 1.0, steps 5`."""
    own = dataclasses.asdict(params.sample)
    return [
        (", ".join(f"{name} {value}" for name, value in changed.items()), Sample(**own | changed))
        for changed in params.sweep.settings
    ]


def identity(params: Params, description: Description) -> str:
    """From all that decides a row besides its setting."""
    folders = [paths.dataset, paths.evaluator, paths.reference]
    if params.noisy_classifier.steps:
        folders.append(paths.noisy_classifier)
    kinds = (evaluators.REGISTRY.module(params), conditions.REGISTRY.module(params))
    return hashing.digest_of(
        {
            "model": description.fingerprint,
            "seeds": seeds(params),
            "threads": params.threads,
            "data": [hashing.sha256(folder(params.workload)) for folder in folders],
            "code": digest_of_code(__name__, *filter(None, kinds)),
            "device": hardware.device().type,
            "versions": {name: version(name) for name in ("torch", "numpy")},
        }
    )


def seeds(params: Params) -> tuple[int, ...]:
    """Those of `sample.seeds` that every setting is generated with."""
    return params.sample.seeds[: params.sweep.seeds]


def changes(base: Sample, setting: Sample) -> dict[str, Any]:
    """In what a setting differs from the base: `{"sample.steps": 5}`."""
    own, others = dataclasses.asdict(base), dataclasses.asdict(setting)
    return {f"sample.{name}": others[name] for name in own if own[name] != others[name]}


def measure(
    params: Params,
    load: Callable[[Sample], Trained],
    settings: Iterable[tuple[str, Sample]],
    kept: Path,
) -> tuple[list[Row], list[float]]:
    """A row for each setting, and the seconds that its drawing took, an image.

    `load` gives the model with the weights that a setting names. What was measured is put into the
    folder `kept`, and what is there is not measured again.

    The rows have the name, `guidance_scale` and `steps` of the setting, how often the network was
    evaluated for an image, the accuracies (means over the first `sweep.seeds` of `sample.seeds`;
    none where it is not known what is requested), the Fréchet distance of all the images, and their
    number. All processes take part, and each gets the rows. Raises `LockstepError` if evaluator,
    reference, label or caption files are missing or do not fit each other.
    """
    with distributed.together():
        targets = condition_of(params).targets(params).sets
        score = evaluator_of(params).scorer(params)
        data = open_dataset(paths.dataset(params.workload))
        space = evaluator_of(params).space(params, data)
        theirs = reference.load(paths.reference(params.workload) / f"{space.name}.npz")

    def measured(setting: Sample) -> Row:
        found: dict[str, list[float]] = defaultdict(list)
        images = []
        passed = 0.0
        trained = load(setting)
        with _evaluations(trained) as evaluated:
            for seed in seeds(params):
                for target in targets:
                    began = time.perf_counter()
                    generated = sample_together(trained, setting, target.conditions, seed=seed)
                    passed += time.perf_counter() - began
                    for name, value in score(target, generated).items():
                        found[name].append(value)
                    images.append(to_bytes(generated))
        ours = reference.statistics_of(space.features(np.concatenate(images)))
        return {
            "guidance_scale": setting.guidance_scale,
            "steps": setting.steps,
            "evaluations": int(distributed.total(torch.tensor(sum(evaluated)))) / ours.count,
            **{name: fmean(values) for name, values in found.items()},
            space.frechet: frechet_distance(ours.normal, theirs.normal),
            "n_generated": ours.count,
            _SECONDS: passed / ours.count,
        }

    rows, seconds = [], []
    for name, setting in settings:
        path = kept / f"{hashing.digest_of(dataclasses.asdict(setting))}.json"
        known = read_json(path) if distributed.is_main() and path.exists() else None
        row = distributed.from_main(known) or measured(setting)
        if distributed.is_main():
            write_json(path, row)
        seconds.append(row.pop(_SECONDS))
        rows.append({"setting": name, **row})
    return rows, seconds


@contextmanager
def _evaluations(trained: Trained) -> Iterator[list[int]]:
    """The number of images at each evaluation of a network, here, as long as the block lasts."""
    found: list[int] = []
    with ExitStack() as stack:
        for model in (trained.model, trained.guide):
            if model is not None:
                hook = model.register_forward_pre_hook(lambda _, given: found.append(len(given[0])))
                stack.callback(hook.remove)
        yield found


def best(rows: Sequence[Row]) -> dict[str, float]:
    """The guidance scale of the best `mean_accuracy`, and what it gave; first of equals.

    Without accuracies it is that of the least distance; without rows there is none.
    """
    if not rows:
        return {}
    if accuracies(rows[0]):
        winner, metrics = max(rows, key=mean_accuracy), accuracies
    else:
        winner, metrics = min(rows, key=distance), distances
    gave = {f"best_{name}": value for name, value in metrics(winner).items()}
    return {"best_guidance_scale": winner["guidance_scale"], **gave}


def by_steps(rows: Sequence[Row], metric: Callable[[Row], float]) -> list[Row]:
    """A row for each number of steps, a column for each sampler: DVC plots columns as lines."""
    names = list(dict.fromkeys(row["setting"] for row in rows))
    found = {(row["steps"], row["setting"]): metric(row) for row in rows}
    counts = sorted({row["steps"] for row in rows})
    return [{"steps": n, **{name: found[n, name] for name in names}} for n in counts]


def accuracies(columns: Mapping[str, _T]) -> dict[str, _T]:
    """Those of a row or a table; empty where nobody knows what images should show."""
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
    scales = [row["guidance_scale"] for row in ordered]
    lines = {key: (scales, [row[key] for row in ordered]) for key in ordered[0]}
    far = distances(lines)
    if not (shown := accuracies(lines)):
        return _lines(far, x_label="guidance scale", y_label="Fréchet distance")
    # The axis says what they are: four whole names have no room above the image.
    named = {name.removesuffix("_accuracy"): line for name, line in shown.items()}
    return _lines(
        named,
        x_label="guidance scale",
        y_label="accuracy",
        right=far,
        right_label="Fréchet distance",
    )


def evaluations_chart(
    samplers: Sequence[Row], others: Sequence[Row], metric: Callable[[Row], float], y_label: str
) -> bytes:
    """A PNG: what evaluations of the network buy; a line for each sampler, points for `others`."""
    lines: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for row in sorted(samplers, key=lambda row: row["evaluations"]):
        x, y = lines[row["setting"]]
        x.append(row["evaluations"])
        y.append(metric(row))
    points = [row["evaluations"] for row in others], [metric(row) for row in others]
    return _lines(
        lines,
        x_label="evaluations of the network per image",
        y_label=y_label,
        points={"other settings": points} if others else {},
    )


def steps_chart(rows: Sequence[Row], y_label: str) -> bytes:
    """A PNG of what `by_steps` gives."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    steps = columns.pop("steps")
    lines = {name: (steps, values) for name, values in columns.items()}
    return _lines(lines, x_label="steps", y_label=y_label)


def _lines(
    lines: Mapping[str, Line],
    *,
    x_label: str,
    y_label: str,
    right: Mapping[str, Line] | None = None,
    right_label: str = "",
    points: Mapping[str, Line] | None = None,
) -> bytes:
    """A PNG with a line for each of `lines`; those of `right` have an axis there."""
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    left = figure.subplots()
    left.set(xlabel=x_label, ylabel=y_label)
    left.grid(alpha=0.3)
    for name, line in lines.items():
        left.plot(*line, marker="o", markersize=3, label=name)
    for name, line in (points or {}).items():
        left.plot(*line, "x", color="black", markersize=5, label=name)
    handles, labels = left.get_legend_handles_labels()
    if right:
        axis = left.twinx()
        axis.set_ylabel(right_label)
        for name, line in right.items():
            axis.plot(*line, "--", color="gray", marker="s", markersize=3, label=name)
        more = axis.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    out = BytesIO()
    # Nothing of the library's version in the file: the same lines are the same bytes.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
