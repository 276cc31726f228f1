"""Compute the tables of docs/scale.md from benchmarks/unit_costs.yaml: `python -m tools.scale`.

A table stands between a remark such as `<!-- table: 1e5 -->` and the next `<!-- end -->`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.config.document import read_yaml
from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_file
from lockstep.data.shards import ABOVE, EACH

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scale.md"
COSTS = ROOT / "benchmarks" / "unit_costs.yaml"

_TABLE = re.compile(r"(<!-- table: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SIZES = {"1e5": 10**5, "1e7": 10**7, "1e9": 10**9}
_WEEK = 7 * 24 * 3600  # seconds
# A figure of benchmarks/results.json in seconds or bytes, by its unit.
_IN_RESULTS: dict[str, Callable[[float], float]] = {
    "s": lambda seconds: seconds,
    "GiB": lambda size: size * 2**30,
    "images a second": lambda rate: 1 / rate,
}
_TIMES = ("core s", "GPU s", "s")
_FIGURES = ("value", "rate", "rows", "lock")
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}
_SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Cost:
    """What one unit of work costs, and where that is from.

    `figure` is in `unit` (core s, GPU s, s, bytes, requests), for one of what `per` names; None if
    it was not measured. For more than `linear_to` of them together it is a lower bound.
    """

    what: str
    unit: str
    per: str
    figure: float | None
    linear_to: float
    processor: str
    source: str
    how: str


@dataclass(frozen=True)
class Amount:
    """So much of something, or at least so much; None if a part of it was not measured."""

    value: float | None
    is_least: bool = False


@dataclass(frozen=True)
class Plan:
    """What the data file says: costs and stages by name, and the assumptions."""

    costs: dict[str, Cost]
    stages: list[dict[str, Any]]
    assumptions: dict[str, float]
    processors: dict[str, str]

    def amount(self, stage: Mapping[str, Any], column: str, images: int) -> Amount | None:
        """What a stage needs of `requests`, `cpu`, `gpu`, `disk`, `files`, `memory` or `wait`.

        In the unit of its costs, for so many images; None if it needs nothing of it.
        """
        if column not in stage:
            return None
        if column == "files":
            each, more, *in_tars = stage["files"]
            if in_tars and images > ABOVE:
                each /= EACH
            return Amount(each * images + more)
        total, is_least = 0.0, False
        for name, how in stage[column].items():
            cost = self.costs[name]
            if cost.figure is None:
                return Amount(None)
            units = float(images) if how.get("each", True) else 1.0
            is_least = is_least or units > cost.linear_to
            total += cost.figure * units * math.prod(map(self._number, how.get("times", ())))
        return Amount(total, is_least)

    def _number(self, number: float | str) -> float:
        return self.assumptions[number] if isinstance(number, str) else number


def read(costs: Path = COSTS) -> Plan:
    """The data file, with the figures that it takes from results.json and dvc.lock.

    Raises
    ------
    LockstepError
        If a figure has no source, one that is not measured has no command, or a stage names a
        cost that is not there.
    """
    document = read_yaml(costs)
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))
    rows = {row["what"]: row for row in results["rows"]}
    outputs = {
        out["path"]: out
        for stage in read_yaml(ROOT / "dvc.lock")["stages"].values()
        for out in stage.get("outs", ())
    }
    processors = document["processors"]
    found = {}
    for name, entry in document["costs"].items():
        try:
            found[name] = _cost(entry, rows, outputs)
            if found[name].processor not in {"", *processors}:
                raise ValueError(f"no processor {found[name].processor!r}; name it in processors")
        except KeyError as error:
            raise LockstepError(f"{costs}: costs: {name}: there is no {error}") from None
        except ValueError as error:
            raise LockstepError(f"{costs}: costs: {name}: {error}") from None
    for stage in document["stages"]:
        for column in set(stage) - {"name", "reach", "files"}:
            if unknown := set(stage[column]) - set(found):
                raise LockstepError(f"{costs}: {stage['name']}: no cost {unknown.pop()}")
    return Plan(found, document["stages"], document["assumptions"], processors)


def _cost(entry: dict[str, Any], rows: dict[str, Any], outputs: dict[str, Any]) -> Cost:
    """A cost of the data file. `ValueError` if it does not say where its figure is from."""
    given = [key for key in _FIGURES if key in entry]
    if len(given) > 1:
        raise ValueError(f"give one of {', '.join(given)}")
    value: float | None = None
    source = ""
    if "rows" in entry:
        found = [rows[what] for what in entry["rows"]]
        value = sum(_IN_RESULTS[row["unit"]](row["figures"]["lockstep"]) for row in found)
        source = "benchmarks/results.json"
    elif "lock" in entry:
        out = outputs[entry["lock"]]
        value = out["size"] / (1 if "of" in entry else out["nfiles"])
        source = f"dvc.lock, {entry['lock']}"
    elif given:
        value = entry["value"] if "value" in entry else 1 / entry["rate"]
        source = _said(entry["source"]) if "source" in entry else ""
    if value is not None and not source:
        raise ValueError("no source of its figure; give page and says, run and shows, or url")
    if not (entry.get("command") or (given and entry.get("note"))):
        raise ValueError("no command that measures it")
    command = f"`{entry['command']}`" if "command" in entry else ""
    return Cost(
        what=entry["what"],
        unit=entry["unit"],
        per=entry.get("per", "image"),
        figure=None if value is None else value * entry.get("cores", 1) / entry.get("of", 1),
        linear_to=entry.get("linear_to", math.inf),
        processor=entry["processor"] if given else "",
        source=source,
        how="; ".join(filter(None, (command, entry.get("note")))),
    )


def _said(source: dict[str, str]) -> str:
    """Where a figure is from. `ValueError` if its page does not say so."""
    if "page" in source:
        if source["says"] not in (ROOT / source["page"]).read_text("utf-8"):
            raise ValueError(f"{source['page']} does not say {source['says']!r}")
        name = source["page"].removeprefix("docs/")
        return f"[{name}]({name})" if name != source["page"] else name
    if "run" in source:
        return f"`make` at {source['run']}: `{source['shows']}`"
    return f"[elsewhere]({source['url']})"


def rounded(value: float) -> str:
    """Two significant digits: `0.034`, `4.5`, `1,300`."""
    return f"{float(f'{value:.2g}'):,.15g}"


def scaled(value: float, units: Mapping[str, float]) -> str:
    """In the largest of the units, which ascend, that gives 1 or more: `9.1 MB`."""
    large = [unit for unit, size in units.items() if value >= 0.995 * size]
    unit = large[-1] if large else next(iter(units))
    return f"{rounded(value / units[unit])} {unit}"


def duration(seconds: float) -> str:
    """`13 min`, `26 days`; from two days on in days."""
    days = seconds / 86400
    return scaled(seconds, _SECONDS) if days < 2 else f"{rounded(days)} days"


def _cell(column: str, amount: Amount | None) -> str:
    if amount is None:
        return "-"
    if amount.value is None:
        return "not measured"
    if column in ("disk", "memory"):
        text = scaled(amount.value, _BYTES)
    elif column in ("cpu", "gpu"):
        hours = amount.value / 3600
        text = rounded(hours) if hours >= 0.1 else "under 0.1"
    else:
        text = rounded(amount.value)
    return f"{text} or more" if amount.is_least else text


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def nodes(plan: Plan, stage: Mapping[str, Any], images: int) -> str:
    """How many nodes finish a stage in a week, and what there is where as many cannot share it."""
    waits = plan.amount(stage, "wait", images)
    if waits is not None and waits.value is not None:
        least = " or more" if waits.is_least else ""
        return f"waits {duration(waits.value)}{least}"
    work = plan.amount(stage, "cpu", images)
    if work is None or work.value is None:
        return "not measured"
    cores = 1 if stage["reach"] == "core" else plan.assumptions["node_cores"]
    seconds = work.value / cores
    needed = math.ceil(seconds / _WEEK)
    least = " or more" if work.is_least else ""
    if needed == 1:
        return f"1 ({duration(seconds)}{least})"
    if stage["reach"] == "nodes":
        return f"{needed}{least}"
    return f"**{needed}{least}**; only 1 can ({duration(seconds)}{least})"


def _of_size(plan: Plan, images: int) -> str:
    columns = {
        "requests": "requests",
        "cpu": "CPU hours",
        "gpu": "GPU hours",
        "disk": "on disk",
        "files": "files",
        "memory": "memory",
    }
    rows = (
        [
            stage["name"],
            *(_cell(name, plan.amount(stage, name, images)) for name in columns),
            nodes(plan, stage, images),
        ]
        for stage in plan.stages
    )
    return _table(["stage", *columns.values(), "nodes for a week"], rows)


def _costs(plan: Plan) -> str:
    rows = (
        [
            cost.what,
            f"{duration(cost.figure)} per {cost.per}",
            plan.processors[cost.processor],
            cost.source,
            cost.how,
        ]
        for cost in plan.costs.values()
        if cost.figure is not None and cost.unit in _TIMES
    )
    return _table(["what", "time", "processor", "from", "measured by"], rows)


def _to_measure(plan: Plan) -> str:
    rows = ([one.what, one.how] for one in plan.costs.values() if one.figure is None)
    return _table(["not measured", "what would measure it"], rows)


def updated(text: str, plan: Plan) -> str:
    """A page with its tables computed anew. Raises `KeyError` if it names one that there is not."""
    tables = {name: _of_size(plan, images) for name, images in _SIZES.items()}
    tables |= {"costs": _costs(plan), "unknown": _to_measure(plan)}
    return _TABLE.sub(lambda found: f"{found[1]}\n{tables[found['name']]}\n{found[3]}", text)


def main() -> None:
    """Write the tables."""
    text = PAGE.read_text("utf-8")
    if (new := updated(text, read())) != text:
        with atomic_file(PAGE) as unfinished:
            unfinished.write_text(new, "utf-8")
        print(f"{PAGE.relative_to(ROOT)}: new tables")


if __name__ == "__main__":
    try:
        main()
    except LockstepError as error:
        sys.exit(f"error: {error}")
