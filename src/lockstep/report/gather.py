"""All that the page of a workload says, read from its outputs, its metrics and git."""

from __future__ import annotations

import base64
import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from lockstep import params as parameters
from lockstep import paths, records, tables
from lockstep.dataset import SPLITS
from lockstep.errors import LockstepError
from lockstep.report import curves, figures, git, numbers, settings
from lockstep.report.curves import Chart
from lockstep.report.figures import Figure
from lockstep.report.settings import Section, Setting

_SPLITS = {
    "train": "trains the generator",
    "validation": "held out: the validation loss",
    "judge_train": "trains the evaluator",
    "judge_validation": "held out: the evaluator's own accuracy",
}
_REASONS = {
    "kept": "",
    "small": "narrower than crop.min_box",
    "tilted": "the eyes' line is steeper than crop.max_slope",
    "turned": "the nose is not between the eyes (crop.nose)",
    "eyes": "the eyes are too near or too far apart (crop.eye_ratio)",
    "cut": "too much lies outside the picture (crop.max_outside)",
    "blurred": "less sharp than crop.min_sharpness",
    "duplicate": "another copy of a face that was kept",
    "excluded": "asked for in exclude.txt",
}
_CAPTIONS = {
    "test": "Drawn for test.json, in its order",
    "new_test": "Drawn for new_test.json, in its order",
    "pictures": "Drawn pictures, the first ones",
    "strip": "From noise to clear",
}
_COLUMNS = {"accuracy_test": "test", "accuracy_new_test": "new_test", "guidance_scale": "guidance"}


@dataclass(frozen=True)
class Picture:
    """A picture file as a data URI, and its size in pixels."""

    name: str
    caption: str
    uri: str
    width: int
    height: int
    asked: tuple[str, ...] = ()

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
class Count:
    """How many of something, and their share of all."""

    name: str
    meaning: str
    count: int
    share: float


@dataclass(frozen=True)
class Data:
    """Of what the data set consists, and what decided it."""

    pictures: int
    splits: tuple[Count, ...]
    digest: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Crop:
    """Which faces were kept, and why the others were not."""

    figures: tuple[Figure, ...]
    reasons: tuple[Count, ...]


@dataclass(frozen=True)
class Sweep:
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Report:
    """The page. Where an output is missing, its part is None or empty.

    `missing` says of each part what makes it, `commands` make the whole of it.
    """

    workload: str
    commit: git.Commit | None
    stale: tuple[Setting, ...]
    figures: tuple[Figure, ...]
    key_figures: tuple[Figure, ...]
    data: Data | None
    crop: Crop | None
    curves: tuple[Chart, ...]
    pictures: tuple[Picture, ...]
    copies: Picture | None
    copy_figures: tuple[Figure, ...]
    scores: tuple[Table, ...]
    sweep: Sweep | None
    sections: tuple[Section, ...]
    changed: tuple[Setting, ...]
    missing: dict[str, str]
    commands: tuple[str, ...]

    @property
    def is_compared(self) -> bool:
        """Whether the last commit has figures."""
        return any(figure.before is not None for figure in self.figures)

    @property
    def stages(self) -> tuple[tuple[Figure, ...], ...]:
        """The figures of each stage."""
        grouped = groupby(self.figures, key=lambda figure: figure.stage)
        return tuple(tuple(some) for _, some in grouped)


def gather(workload: str, out: Path) -> Report:
    """Read everything; `out` is the file that is going to be written.

    Raises
    ------
    LockstepError
        If there are no outputs at all, or a file is damaged, or params.yaml mistaken.
    """
    params = parameters.load(workload, paths.PARAMS)
    found = figures.gather(workload)
    sample = paths.plots(workload, "sample")
    evaluate = paths.plots(workload, "evaluate")
    parts: dict[str, Any] = {
        "data": _data(workload),
        "crop": _crop(workload, found),
        "curves": _curves(paths.plots(workload, "train")),
        "pictures": _pictures(workload, sample),
        "copies": _copies(evaluate / "copies.png"),
        "scores": _scores(evaluate),
        "sweep": _sweep(paths.plots(workload, "sweep")),
    }
    if not any(parts.values()) and all(figure.value is None for figure in found):
        raise LockstepError(
            f"{workload}: nothing to report yet; `dvc repro evaluate@{workload}` makes it"
        )
    targets = _targets(workload)
    made_by = {"curves": "train", "pictures": "sample", "copies": "evaluate", "data": "dataset"}
    stages = {part: made_by.get(part, part) for part in parts if part != "scores"}
    missing = {
        part: f"dvc repro {targets[stage]}"
        for part, stage in stages.items()
        if not parts[part] and stage in targets
    }
    if not any(figure.value is not None for figure in found):
        missing["figures"] = f"dvc repro evaluate@{workload}"
    commit = git.head(apart_from=out)
    in_force = settings.sections(params)
    wanted = [f"evaluate@{workload}", *([targets["sweep"]] if parts["sweep"] else [])]
    checkout = [f"git checkout {commit.name}"] if commit else []
    return Report(
        workload=workload,
        commit=commit,
        stale=settings.stale(params),
        figures=found,
        key_figures=figures.key_figures(found),
        copy_figures=tuple(f for f in found if f.name.startswith("copies") and f.value is not None),
        sections=in_force,
        changed=settings.changed(in_force),
        missing=missing,
        commands=(*checkout, f"dvc repro {' '.join(wanted)}"),
        **parts,
    )


def _targets(workload: str) -> dict[str, str]:
    """The stages that make something of a workload, and what `dvc repro` calls them."""
    path = Path("dvc.yaml")
    if not path.exists():
        return {}
    try:
        stages = (yaml.safe_load(path.read_text("utf-8")) or {}).get("stages", {})
    except yaml.YAMLError as error:
        raise LockstepError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    found = {}
    for name, stage in stages.items():
        if "foreach" in stage:
            if workload in stage["foreach"]:
                found[name] = f"{name}@{workload}"
        elif any(Path(str(out)).name == workload for out in stage.get("outs", ())):
            found[name] = name
    return found


def _data(workload: str) -> Data | None:
    path = paths.dataset(workload) / "dataset.json"
    if not path.exists():
        return None
    record = records.read(path)
    total = record["pictures"]
    splits = (
        Count(name, _SPLITS[name], record[name], record[name] / total)
        for name in SPLITS
        if record.get(name)
    )
    decided = (Setting(k, settings.text(v)) for k, v in record["params"].items())
    return Data(total, tuple(splits), record["digest"], tuple(decided))


def _crop(workload: str, found: Sequence[Figure]) -> Crop | None:
    own = tuple(f for f in found if f.stage == "crop" and f.value is not None)
    path = paths.collected(workload) / "decisions.csv"
    reasons: Counter[str] = Counter()
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            reasons.update(row["decision"] for row in csv.DictReader(file))
    if not own and not reasons:
        return None
    total = reasons.total()
    # Kept first, then the most frequent; equally frequent ones by name.
    ordered = sorted(reasons.items(), key=lambda item: (item[0] != "kept", -item[1], item[0]))
    return Crop(
        own, tuple(Count(name, _REASONS.get(name, ""), n, n / total) for name, n in ordered)
    )


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


def _pictures(workload: str, folder: Path) -> tuple[Picture, ...]:
    # Grids first, strips last; test before new_test, as in _CAPTIONS.
    known = list(_CAPTIONS)

    def place(path: Path) -> tuple[int, str]:
        return (known.index(path.stem) if path.stem in known else len(known), path.stem)

    return tuple(
        _picture(
            path,
            _CAPTIONS.get(path.stem, path.stem),
            _asked(paths.dataset(workload) / f"{path.stem}.json"),
        )
        for path in sorted(folder.glob("*.png"), key=place)
    )


def _asked(path: Path) -> tuple[str, ...]:
    """What was asked for, a line a picture, where a file lists it."""
    try:
        listed = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return ()
    if not isinstance(listed, list):
        return ()
    return tuple(", ".join(map(str, one)) if isinstance(one, list) else str(one) for one in listed)


def _copies(path: Path) -> Picture | None:
    if not path.exists():
        return None
    return _picture(path, "Drawn pictures above, their nearest training pictures below")


def _picture(path: Path, caption: str, asked: tuple[str, ...] = ()) -> Picture:
    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content)) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise LockstepError(f"{path}: not a readable picture ({error})") from None
    uri = f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
    return Picture(path.stem, caption, uri, width, height, asked)


def _scores(folder: Path) -> tuple[Table, ...]:
    """By number of objects and by object, a table for each set of pictures."""
    found = []
    for name, title in (("sizes", "By number of objects"), ("objects", "By object")):
        rows = _rows(folder / f"{name}.csv")
        for of_set in dict.fromkeys(row.get("set", "") for row in rows):
            some = [
                {key: cell for key, cell in row.items() if key != "set"}
                for row in rows
                if row.get("set", "") == of_set
            ]
            found.append(_table(f"{title}, {of_set}" if of_set else title, some))
    return tuple(found)


def _sweep(folder: Path) -> Sweep | None:
    guidance, samplers = _rows(folder / "guidance.csv"), _rows(folder / "samplers.csv")
    steps = _rows(folder / "steps.csv")
    if not (guidance or samplers or steps):
        return None
    guidance.sort(key=lambda row: row["guidance_scale"])
    measured = [key for key in next(iter(guidance), {}) if key not in _SETTINGS]
    distances = [key for key in measured if key.startswith(("fd_", "fid"))]
    scores = [key for key in measured if key not in distances]
    charts = [
        curves.draw(
            title,
            "guidance scale",
            {_heading(name): _points(guidance, "guidance_scale", name) for name in names},
        )
        for title, names in (("Accuracy", scores), ("Fréchet distance", distances))
        if names
    ]
    names = [key for key in next(iter(steps), {}) if key != "steps"]
    if names:
        by_steps = {name: _points(steps, "steps", name) for name in names}
        charts.append(curves.draw("Mean accuracy of each sampler", "steps", by_steps))

    def mean_score(row: dict[str, tables.Cell]) -> float:
        return sum(value for key in scores if isinstance(value := row[key], float))

    shown = []
    if guidance:
        best = max(range(len(guidance)), key=lambda i: mean_score(guidance[i])) if scores else None
        shown.append(_table("Guidance", _without(guidance, "setting"), best))
    if samplers:
        renamed = [{"sampler": row["setting"], **row} for row in samplers]
        shown.append(_table("Samplers", _without(renamed, "setting", "guidance_scale")))
    return Sweep(tuple(chart for chart in charts if chart), tuple(shown))


_SETTINGS = ("setting", "guidance_scale", "steps")


def _without(rows: Sequence[dict[str, tables.Cell]], *names: str) -> list[dict[str, tables.Cell]]:
    return [{key: cell for key, cell in row.items() if key not in names} for row in rows]


def _table(title: str, rows: Sequence[dict[str, tables.Cell]], best: int | None = None) -> Table:
    names = list(rows[0])
    columns = [[row[name] for row in rows] for name in names]
    return Table(
        title,
        tuple(map(_heading, names)),
        tuple(any(isinstance(cell, float) for cell in cells) for cells in columns),
        tuple(zip(*map(numbers.column, columns), strict=True)),
        best,
    )


def _heading(name: str) -> str:
    return _COLUMNS.get(name, name).replace("_", " ")


def _rows(path: Path) -> list[dict[str, tables.Cell]]:
    return tables.read(path) if path.exists() else []


def _points(rows: Sequence[dict[str, tables.Cell]], x: str, y: str) -> list[tuple[float, float]]:
    return [
        (a, b)
        for row in rows
        if isinstance(a := row.get(x), float) and isinstance(b := row.get(y), float)
    ]
