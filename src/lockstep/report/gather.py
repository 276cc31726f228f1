"""All that the page of a workload says, read from its outputs, its metrics and git."""

from __future__ import annotations

import base64
import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import Cell, damage_named, read_csv
from lockstep.data import captions
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.report import card, curves, data, git, metrics, numbers, settings
from lockstep.report.curves import Chart
from lockstep.report.data import Data, Fetched, Kept
from lockstep.report.metrics import Metric
from lockstep.report.settings import Section, Setting
from lockstep.sampling.targets import SHOWN
from lockstep.sources.crawlers import crawler_of
from lockstep.tracking import dvc_lock

# Columns that are text, whatever a person wrote there.
_WRITTEN = ("set", "id", "kind", "object", "prompt")
# What makes a part of the page; the parts that not every workload has.
_TARGETS = {
    "data": "dataset@{}",
    "fetched": "download@{}",
    "kept": "collect@{}",
    "card": "collect@{}",
    "curves": "train@{}",
    "images": "sample@{}",
    "copies": "evaluate@{}",
    "sweep": "sweep@{}",
}
_CAPTIONS = {
    "test": "Generated as requested, in order",
    "new_test": "Generated for new_test.json, in its order",
    "images": "Generated images, the first ones",
    "strip": "From noise to clear",
    "denoising": "From noise to clear, moving",
}
_FORMATS = (".png", ".gif")
_COPIES = "Generated images above, their nearest training images below"
_SCORES = {
    "sizes": "By number of objects",
    "objects": "By object",
    "kinds": "By kind of prompt",
    "prompts": "By prompt",
}
_HEADINGS = {
    "accuracy_test": "test",
    "accuracy_new_test": "new test",
    "guidance_scale": "guidance",
    "setting": "sampler",
}

Row = dict[str, Cell]


@dataclass(frozen=True)
class Shown:
    """An image file as a data URI, and its size in pixels."""

    name: str
    caption: str
    uri: str
    width: int
    height: int
    targets: tuple[str, ...] = ()

    @property
    def is_wide(self) -> bool:
        return self.width > 4 * self.height


@dataclass(frozen=True)
class Table:
    """Cells as text; `is_number` says of each column how to align it, `best` is a row's place."""

    title: str
    columns: tuple[str, ...]
    is_number: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    best: int | None = None


@dataclass(frozen=True)
class Sweep:
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Report:
    """The page. Where an output is missing, its part is None or empty.

    `missing` says of each part what makes it, `commands` make the whole of it. `outdated` is what
    was made anew after the metrics.
    """

    workload: str
    has_prompts: bool
    commit: git.Commit | None
    stale: tuple[Setting, ...]
    outdated: tuple[str, ...]
    metrics: tuple[Metric, ...]
    key_metrics: tuple[Metric, ...]
    data: Data | None
    fetched: Fetched | None
    kept: Kept | None
    card: Markup | None
    curves: tuple[Chart, ...]
    images: tuple[Shown, ...]
    copies: Shown | None
    copy_metrics: tuple[Metric, ...]
    scores: tuple[Table, ...]
    sweep: Sweep | None
    sections: tuple[Section, ...]
    changed: tuple[Setting, ...]
    missing: dict[str, str]
    commands: tuple[str, ...]

    @property
    def is_compared(self) -> bool:
        """Whether the last commit has metrics."""
        return any(metric.before is not None for metric in self.metrics)

    @property
    def stages(self) -> tuple[tuple[Metric, ...], ...]:
        """The metrics of each stage."""
        grouped = groupby(self.metrics, key=lambda metric: metric.stage)
        return tuple(tuple(some) for _, some in grouped)


def gather(workload: str, out: Path) -> Report:
    """Read everything; `out` is the file that is going to be written.

    Raises `LockstepError` if there are no outputs at all, or a file is damaged, or params.yaml
    mistaken.
    """
    params = load_params(workload, paths.PARAMS)
    found = metrics.gather(workload)
    copies = paths.plots(workload, "evaluate") / "copies.png"
    parts: dict[str, Any] = {
        "data": data.data(workload),
        "fetched": data.fetched(workload),
        "kept": data.kept(params, found),
        "card": card.card(workload),
        "curves": _curves(paths.plots(workload, "train")),
        "images": _images(params),
        "copies": _image(copies, _COPIES) if copies.exists() else None,
        "scores": _scores(paths.tables(workload, "evaluate")),
        "sweep": _sweep(params, found),
    }
    everything = f"dvc repro evaluate@{workload}"
    is_measured = any(metric.value is not None for metric in found)
    if not is_measured and not any(parts.values()):
        raise LockstepError(f"{workload}: nothing to report yet; `{everything}` makes it")
    missing = {
        part: f"dvc repro {target}" for part, target in targets(params).items() if not parts[part]
    }
    if not is_measured:
        missing["metrics"] = everything
    lock = dvc_lock.load()
    outdated = {stage: lock.outdated(f"{stage}@{workload}") for stage in ("evaluate", "sweep")}
    if parts["sweep"] or outdated["sweep"]:
        everything += f" sweep@{workload}"
    commit = git.head(apart_from=out)
    in_force = settings.sections(params)
    checkout = [f"git checkout {commit.name}"] if commit else []
    return Report(
        workload=workload,
        has_prompts=params.condition == "prompts",
        commit=commit,
        stale=settings.stale(params),
        outdated=tuple(sorted({path for found in outdated.values() for path in found})),
        metrics=found,
        key_metrics=metrics.key_metrics(found),
        copy_metrics=tuple(f for f in found if f.name.startswith("copies") and f.value is not None),
        sections=in_force,
        changed=settings.changed(in_force),
        missing=missing,
        commands=(*checkout, everything),
        **parts,
    )


def targets(params: Params) -> dict[str, str]:
    """What `dvc repro` calls that which makes the parts of a workload's page."""
    has = {
        "fetched": crawler_of(params) is not None,
        "kept": data.decides(params),
        "sweep": bool(params.sweep.samplers) or params.is_guided,
    }
    return {
        part: target.format(params.workload)
        for part, target in _TARGETS.items()
        if has.get(part, True)
    }


def _curves(folder: Path) -> tuple[Chart, ...]:
    train, validation = _rows(folder / "train.csv"), _rows(folder / "validation.csv")
    charts = (
        curves.draw(
            "Loss",
            "step",
            {
                "training": _points(train, "step", "loss"),
                "validation": _points(validation, "step", "val_loss"),
            },
            falls_far=True,
        ),
        curves.draw("Learning rate", "step", {"learning rate": _points(train, "step", "lr")}),
    )
    return tuple(chart for chart in charts if chart)


def _images(params: Params) -> tuple[Shown, ...]:
    workload = params.workload
    shown = [*paths.plots(workload, "sample").glob("*.*"), *paths.strips(workload).glob("*.gif")]
    files = {path.stem: path for path in sorted(shown) if path.suffix in _FORMATS}
    return tuple(
        _image(files[name], _CAPTIONS.get(name, name), _requested(params, name))
        for name in sorted(files, key=[*_CAPTIONS, *files].index)
    )


def _requested(params: Params, name: str) -> tuple[str, ...]:
    """What was requested in a grid, a line an image, where a file lists it."""
    path = paths.dataset(params.workload) / f"{name}.json"
    if not path.exists():
        return ()
    if params.condition == "prompts":
        return tuple(captions.read_test(path).values())[:SHOWN]
    with damage_named(path):
        listed = json.loads(path.read_text("utf-8"))
        return tuple(", ".join(one) if isinstance(one, list) else str(one) for one in listed)


def _image(path: Path, caption: str, requested: tuple[str, ...] = ()) -> Shown:
    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content)) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise LockstepError(f"{path}: not a readable image ({error})") from None
    uri = f"data:image/{path.suffix[1:]};base64,{base64.b64encode(content).decode('ascii')}"
    return Shown(path.stem, caption, uri, width, height, requested)


def _scores(folder: Path) -> tuple[Table, ...]:
    """By what was requested, a table for each set of images where there are several."""
    found = []
    for name, title in _SCORES.items():
        by_set = defaultdict(list)
        for row in _as_written(folder / f"{name}.csv"):
            by_set[row.pop("set", "")].append(row)
        found += [
            _table(f"{title}, {of_set}" if of_set else title, rows)
            for of_set, rows in by_set.items()
        ]
    return tuple(found)


def _sweep(params: Params, found: Sequence[Metric]) -> Sweep | None:
    folder = paths.tables(params.workload, "sweep")
    guidance, samplers = _rows(folder / "guidance.csv"), _rows(folder / "samplers.csv")
    steps, distance = _rows(folder / "steps.csv"), _rows(folder / "steps_distance.csv")
    others = _rows(folder / "settings.csv")
    if not (guidance or samplers or steps or others):
        return None
    with damage_named(folder / "guidance.csv"):
        guidance.sort(key=lambda row: float(row["guidance_scale"]))

    measured = evaluator_of(params).ACCURACY.capitalize()
    charts = (
        curves.draw(
            title,
            x.replace("_", " "),
            {
                _heading(name): _points(rows, x, name)
                for name in next(iter(rows), {})
                if any(form in name for form in forms) and name != x and not name.endswith("_sd")
            },
        )
        for title, rows, x, forms in (
            ("Accuracy", guidance, "guidance_scale", ("accuracy",)),
            ("Fréchet distance", guidance, "guidance_scale", ("fd_", "fid")),
            (f"{measured} of each sampler", steps, "steps", ("",)),
            ("Fréchet distance of each sampler", distance, "steps", ("",)),
        )
    )
    best = {metric.value for metric in found if metric.name == "best_guidance_scale"}
    shown = []
    if guidance:
        place = next((i for i, row in enumerate(guidance) if row["guidance_scale"] in best), None)
        shown.append(_table("Guidance", guidance, place, without="setting"))
    if samplers:
        shown.append(_table("Samplers", samplers, without="guidance_scale"))
    if others:
        shown.append(_table("Other settings", others))
    with damage_named(folder / "samplers.csv"):
        by_evaluations = [
            curves.draw(f"{title} by evaluations of the network", "evaluations per image", lines)
            for title, lines in (
                (measured, _by_evaluations(samplers, steps)),
                ("Fréchet distance", _by_evaluations(samplers, distance)),
            )
        ]
    return Sweep(tuple(chart for chart in (*charts, *by_evaluations) if chart), tuple(shown))


def _by_evaluations(
    samplers: Sequence[Row], by_steps: Sequence[Row]
) -> dict[str, list[tuple[float, float]]]:
    """A line for each sampler, of a table that has a column for each, over its evaluations."""
    needed = {
        (row["setting"], row["steps"]): row["evaluations"]
        for row in samplers
        if "evaluations" in row
    }
    names = list(by_steps[0])[1:] if by_steps else []
    return {
        name: _points(
            [
                {"x": needed[name, row["steps"]], "y": row[name]}
                for row in by_steps
                if (name, row["steps"]) in needed
            ],
            "x",
            "y",
        )
        for name in names
    }


def _table(title: str, rows: Sequence[Row], best: int | None = None, without: str = "") -> Table:
    names = [name for name in rows[0] if name != without]
    columns = [[row[name] for row in rows] for name in names]
    return Table(
        title,
        tuple(map(_heading, names)),
        tuple(any(isinstance(cell, float) for cell in cells) for cells in columns),
        tuple(zip(*map(numbers.column, columns), strict=True)),
        best,
    )


def _heading(name: str) -> str:
    return _HEADINGS.get(name, name.replace("_", " "))


def _rows(path: Path) -> list[Row]:
    return read_csv(path) if path.exists() else []


def _as_written(path: Path) -> list[Row]:
    """The rows of a table whose ids and prompts may look like numbers, and are none."""
    if not (rows := _rows(path)):
        return []
    with path.open(newline="", encoding="utf-8") as file:
        for row, cells in zip(rows, csv.DictReader(file), strict=True):
            row |= {name: cells[name] for name in _WRITTEN if name in cells}
    return rows


def _points(rows: Sequence[Row], x: str, y: str) -> list[tuple[float, float]]:
    return [
        (a, b)
        for row in rows
        if isinstance(a := row.get(x), float) and isinstance(b := row.get(y), float)
    ]
