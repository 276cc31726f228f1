"""tools/scale.py: the tables of docs/scale.md are those of the committed unit costs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.core.errors import LockstepError
from tools import scale

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def plan() -> scale.Plan:
    return scale.read()


def document() -> dict[str, Any]:
    return yaml.safe_load(scale.COSTS.read_text("utf-8"))


def of(plan: scale.Plan, stage: str) -> dict[str, Any]:
    return next(one for one in plan.stages if one["name"] == stage)


def test_the_page_has_the_tables_of_the_unit_costs(plan: scale.Plan) -> None:
    page = scale.PAGE.read_text("utf-8")
    assert scale.updated(page, plan) == page, "`python -m tools.scale` computes them anew"


def test_the_page_has_every_table_and_every_stage(plan: scale.Plan) -> None:
    page = scale.PAGE.read_text("utf-8")
    for name in ("1e5", "1e7", "1e9", "costs", "unknown"):
        assert f"<!-- table: {name} -->" in page
    for stage in plan.stages:
        assert page.count(f"\n| {stage['name']} |") == 3
    for cost in plan.costs.values():
        assert cost.figure is None or cost.unit not in ("core s", "s") or f"| {cost.what} |" in page
        assert cost.figure is not None or f"| {cost.what} | {cost.how} |" in page


def test_an_edited_table_is_not_that_of_the_costs(plan: scale.Plan) -> None:
    page = scale.PAGE.read_text("utf-8")
    edited = page.replace("1,000,000,000", "1,000,000,001")
    assert edited != page
    assert scale.updated(edited, plan) == page
    with pytest.raises(KeyError, match="1e8"):
        scale.updated(page.replace("table: 1e5", "table: 1e8"), plan)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda costs: costs["packing"].pop("source"), "packing: no source"),
        (lambda costs: costs["packing"].pop("note") and costs["packing"].pop("command"), "command"),
        (lambda costs: costs["stage_memory"].pop("command"), "stage_memory: no command"),
        (lambda costs: costs["merging"]["source"].update(says="81,000"), "does not say '81,000'"),
        (lambda costs: costs["merging"]["source"].pop("says"), "merging: there is no 'says'"),
        (lambda costs: costs["faces"]["source"].pop("shows"), "faces: there is no 'shows'"),
        (lambda costs: costs["merging"].update(rate=2), "merging: give one of"),
        (lambda costs: costs["training_lab6"].update(rows=["none"]), "there is no 'none'"),
        (lambda costs: costs["model_disk"].update(lock="models/none"), "there is no 'models/none'"),
        (lambda costs: costs["packing"].update(processor="none"), "no processor 'none'"),
        (lambda costs: costs.pop("sampling"), "sample 10,000 images: no cost sampling"),
    ],
)
def test_a_cost_without_a_source_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    changed = document()
    change(changed["costs"])
    (tmp_path / "costs.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(LockstepError, match=says):
        scale.read(tmp_path / "costs.yaml")


def test_unit_costs_by_hand(plan: scale.Plan) -> None:
    results = json.loads((ROOT / "benchmarks/results.json").read_text("utf-8"))
    lab6 = next(r for r in results["rows"] if r["what"] == "training step, lab6, bf16")
    expected = {
        "merging": 180 * 2 / 80_000,  # 4.5 ms
        "faces": 43.2 * 2 / 543.1,  # 0.16 s a megapixel
        "packing": 1 / 2263.59,
        "training": 682 * 2 / 12_800,
        "training_lab6": lab6["figures"]["lockstep"] * 2 / 16,
        "evaluation_memory": 2.4521026611328125 * 2**30,
        "checkout": 0.0018,
        "packed_disk": 64 * 64 * 3,
        "gpu_training": None,
    }
    for name, figure in expected.items():
        found = plan.costs[name].figure
        assert found == (figure if figure is None else pytest.approx(figure))


def test_amounts_by_hand(plan: scale.Plan) -> None:
    def amount(stage: str, column: str, images: int) -> scale.Amount:
        found = plan.amount(of(plan, stage), column, images)
        assert found is not None
        return found

    # Packed: 10 million x 12,288 bytes, and 0.44 ms each on one core.
    assert amount("dataset", "disk", 10**7).value == 122_880_000_000
    packing = amount("dataset", "cpu", 10**7)
    assert packing.value == pytest.approx(4417.8, rel=1e-4)
    assert not packing.is_least
    # Merged: 4.5 ms to read and 0.3 ms for near-duplicates, which grow faster above a million.
    assert amount("collect: merge", "cpu", 10**6) == scale.Amount(pytest.approx(4800.0), False)
    assert amount("collect: merge", "cpu", 10**7) == scale.Amount(pytest.approx(48_000.0), True)
    # 750 bytes a file, and 150 MB in each of 16 processes.
    assert amount("collect: merge", "memory", 10**9).value == pytest.approx(750e9 + 16 * 150e6)
    # 10,000 images in 20 steps, whatever the images trained on: 10,000 x 20 x 2 / 72.16.
    sampling = [amount("sample 10,000 images", "cpu", n).value for n in (10**5, 10**9)]
    assert sampling == [pytest.approx(5543.2, rel=1e-4)] * 2
    # Each of the 10,000 is compared with each of the images.
    few, many = (amount("evaluate 10,000 images", "cpu", n).value for n in (10**5, 10**5 + 10**6))
    assert few is not None and many is not None
    assert many - few == pytest.approx(10**4 * 10**6 * plan.costs["copies"].figure)
    assert amount("download", "files", 10**5).value == 100_003
    merged = [amount("collect: merge", "files", n).value for n in (10**5, 10**7)]
    assert merged == [100_008, 1_008]  # above 100,000 they are tars of 10,000
    assert amount("crawl", "cpu", 10**5) == scale.Amount(None)
    assert plan.amount(of(plan, "dataset"), "gpu", 10**5) is None


def test_nodes_for_a_week(plan: scale.Plan) -> None:
    week = 7 * 24 * 3600

    def stage(cost: float, reach: str) -> tuple[scale.Plan, dict[str, Any]]:
        one = scale.Cost("x", "core s", "image", cost, math.inf, "any", "here", "`so`")
        made = scale.Plan({"x": one}, [], {"node_cores": 16}, {})
        return made, {"name": "x", "reach": reach, "cpu": {"x": {}}}

    assert scale.nodes(*stage(week, "core"), 1) == "1 (7 days)"
    assert scale.nodes(*stage(week, "node"), 8) == "1 (3.5 days)"  # on 16 cores
    assert scale.nodes(*stage(week, "nodes"), 16) == "1 (7 days)"
    assert scale.nodes(*stage(week, "nodes"), 33) == "3"
    assert scale.nodes(*stage(week, "node"), 33) == "**3**; only 1 can (14 days)"
    made, slow = stage(week, "core")
    made.costs["x"] = dataclasses.replace(made.costs["x"], linear_to=1)
    assert scale.nodes(made, slow, 2) == "**2 or more**; only 1 can (14 days or more)"
    assert scale.nodes(*stage(week, "core"), 2) == "**2**; only 1 can (14 days)"
    assert scale.nodes(plan, of(plan, "crawl"), 43 * 10**5) == "waits 6.5 days"  # 560,000 s
    assert scale.nodes(plan, of(plan, "a `dvc checkout` of what was downloaded"), 2 * 10**6) == (
        "waits 1 h or more"
    )
    assert scale.nodes(plan, of(plan, "download"), 10**5) == "not measured"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0341, "0.034"),
        (4.49, "4.5"),
        (3.0, "3"),
        (99.6, "100"),
        (1349, "1,300"),
        (1e9, "1,000,000,000"),
    ],
)
def test_numbers_have_two_digits(number: float, text: str) -> None:
    assert scale.rounded(number) == text


def test_units() -> None:
    assert scale.duration(0.0045) == "4.5 ms"
    assert scale.duration(420e-9) == "420 ns"
    assert scale.duration(47 * 3600) == "47 h"
    assert scale.duration(48 * 3600) == "2 days"
    assert scale.scaled(999.6, {"B": 1, "kB": 1000}) == "1 kB"
    assert scale.scaled(0.5, {"B": 1, "kB": 1000}) == "0.5 B"
