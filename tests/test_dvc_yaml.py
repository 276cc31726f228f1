"""dvc.yaml says all that a stage reads: its code, and the parameters it depends on."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from lockstep.config.document import SHARED_NAMES, TOP_NAMES, read_yaml
from lockstep.config.load import load_all
from lockstep.config.schema import SECTIONS, Autoencoder

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "dvc.yaml").read_text("utf-8")
STAGES = yaml.safe_load(TEXT)["stages"]
OF_WORKLOADS = [name for name in STAGES if name != "check"]
SCRIPTS = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"this_tree"}


def params_of(name: str) -> set[str]:
    return {str(key) for key in STAGES[name]["do"].get("params", [])}


def test_it_is_short_and_has_a_stage_for_each_script() -> None:
    assert len(TEXT.splitlines()) < 350
    assert set(STAGES) == SCRIPTS
    assert "stages" in STAGES["check"]["deps"] and "src/lockstep" in STAGES["check"]["deps"]


@pytest.mark.parametrize("name", OF_WORKLOADS)
def test_a_stage_of_every_workload_depends_on_its_code(name: str) -> None:
    assert STAGES[name]["foreach"] == "${workloads}"
    body = STAGES[name]["do"]
    assert body["cmd"] == f"python stages/{name}.py ${{item}}"
    assert f"data/code/${{item}}/{name}" in body["deps"]
    code = [dep for dep in body["deps"] if dep.startswith(("data/code", "src", "stages"))]
    excluded = ["data/code/${item}/exclude.txt"] if name == "collect" else []
    assert code == [f"data/code/${{item}}/{name}", *excluded]
    outs = [next(iter(o)) if isinstance(o, dict) else o for o in body["outs"]]
    assert all("${item}" in out for out in outs), "workloads must not share an output"


@pytest.mark.parametrize("name", OF_WORKLOADS)
def test_a_parameter_is_watched_where_it_is_shared_and_where_it_is_overridden(name: str) -> None:
    watched = params_of(name)
    shared = {key.split(".")[0] for key in watched if not key.startswith("${item}.")}
    own = {key.split(".")[1] for key in watched if key.startswith("${item}.")}
    assert shared <= {*SHARED_NAMES, *TOP_NAMES}
    assert shared - set(TOP_NAMES) == own - {"condition", "source"}


def read_by(path: Path) -> set[str]:
    """The sections, and `threads`, that a file reads of something called `params`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "params"
            and node.attr in (*SECTIONS, "threads", "condition")
        ):
            found.add(node.attr)
    return found


@pytest.mark.parametrize("name", OF_WORKLOADS)
def test_what_a_stages_script_reads_is_watched(name: str) -> None:
    watched = {key.split(".")[-2] if "." in key else key for key in params_of(name)}
    sections = {key.removeprefix("${item}.").split(".")[0] for key in params_of(name)} | watched
    # How many processes share the work decides nothing.
    script = ROOT / f"stages/{name}.py"
    text = script.read_text("utf-8")
    read = {name: re.findall(rf"params\.{name}\.(\w+)", text) for name in read_by(script)}
    assert {name for name in read if set(read[name]) != {"processes"}} <= sections


def test_every_workload_has_every_section() -> None:
    document = read_yaml(ROOT / "params.yaml")
    for workload in load_all(ROOT / "params.yaml"):
        assert {*SECTIONS, "condition"} <= document[workload].keys()


def test_each_committed_workload_has_its_model_as_an_artifact() -> None:
    artifacts = yaml.safe_load(TEXT)["artifacts"]
    assert list(artifacts) == read_yaml(ROOT / "params.yaml")["workloads"]
    for name, artifact in artifacts.items():
        assert artifact["path"] == f"models/{name}"
        assert artifact["type"] == "model" and artifact["desc"]


def test_all_that_makes_an_autoencoder_is_watched() -> None:
    watched = {key.removeprefix("autoencoder.") for key in params_of("autoencoder")}
    fields = {field.name for field in dataclasses.fields(Autoencoder)}
    assert fields - watched == {"processes"}
