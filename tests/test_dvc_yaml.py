"""dvc.yaml says all that a stage reads: the code it imports and the parameters it depends on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from lockstep.config.load import read_yaml
from lockstep.config.schema import SECTIONS
from lockstep.evaluation import sweep
from lockstep.training import fingerprint

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
# Code that decides how a stage is run, watched and written down, not what comes out.
HOUSEKEEPING = {
    f"lockstep/{name}"
    for name in (
        "__init__.py",
        "atomic.py",
        "content.py",
        "errors.py",
        "fingerprint.py",
        "lock.py",
        "params.py",
        "paths.py",
        "preview.py",
        "recording.py",
        "stage.py",
        "tracking.py",
    )
}


def imported(path: Path) -> set[Path]:
    """The files of `lockstep` that a file imports, directly."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            for file in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
                if name.startswith("lockstep") and (SRC / file).is_file():
                    found.add(SRC / file)
    return found


def used(stage_file: Path) -> set[str]:
    """All that a stage imports, through everything but housekeeping."""
    seen: set[Path] = set()
    todo = imported(stage_file)
    while todo:
        path = todo.pop()
        if path in seen or path.relative_to(SRC).as_posix() in HOUSEKEEPING:
            continue
        seen.add(path)
        todo |= imported(path)
    return {path.relative_to(SRC).as_posix() for path in seen}


def body(stage: dict) -> dict:
    return stage.get("do", stage)


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_a_stage_depends_on_the_code_it_imports(name: str) -> None:
    stage = body(STAGES[name])
    script = stage["cmd"].split()[1]
    declared = [dep.removeprefix("src/") for dep in stage["deps"] if dep.startswith("src/")]
    assert script in stage["deps"]
    missing = {
        file
        for file in used(ROOT / script)
        if not any(file == dep or file.startswith(f"{dep}/") for dep in declared)
    }
    assert not missing, f"{name} imports {sorted(missing)}, which dvc.yaml does not say"


def test_the_fingerprint_of_a_training_covers_the_code_it_depends_on() -> None:
    deps = (dep for dep in body(STAGES["train"])["deps"] if dep.startswith("src/lockstep/"))
    # Small files that only carry values from stage to stage.
    carried = {"records.py"}
    assert {dep.removeprefix("src/lockstep/") for dep in deps} - carried == set(fingerprint.CODE)


def test_the_identity_of_a_sweep_covers_the_code_that_decides_a_row() -> None:
    # What writes and shows rows, and spaces of features that no sweep looks into.
    apart = ("charts.py", "collect", "fetch.py", "images.py", "records.py", "workers.py")
    missing = [
        name
        for file in used(SRC / "lockstep/evaluation/sweep.py")
        if not any(
            (name := file.removeprefix("lockstep/")) == code or name.startswith(f"{code}/")
            for code in (*apart, *sweep.CODE)
        )
    ]
    assert not missing


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_overridable_parameters_are_watched_in_both_places(name: str) -> None:
    workload = body(STAGES[name])["cmd"].split()[-1]
    watched = {str(key) for key in body(STAGES[name])["params"]}
    for key in watched:
        section = key.split(".")[0]
        if section in SECTIONS:
            assert f"{workload}.{section}" in watched
    sections = {key.split(".")[-1] for key in watched}
    script = (ROOT / body(STAGES[name])["cmd"].split()[1]).read_text("utf-8")
    for section in SECTIONS:
        if f"params.{section}." in script or f"params.{section}," in script:
            assert section in sections, f"{name} reads params.{section}"


def test_every_workload_has_every_section_and_every_foreach_stage() -> None:
    document = read_yaml(ROOT / "params.yaml")
    for workload in WORKLOADS:
        assert SECTIONS.keys() <= document[workload].keys()
    for name, stage in STAGES.items():
        if "foreach" in stage:
            # A sweep is about a condition.
            workloads = ("iclevr", "captions") if name == "sweep" else WORKLOADS
            assert tuple(stage["foreach"]) == workloads
