"""README.md as a newcomer follows it: its commands, copied from it and run in its order."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import Project, commit, copied, ran

README = Path(__file__).resolve().parent.parent / "README.md"
# What needs a browser, an environment of its own, or hours, and which test runs it instead.
ELSEWHERE = {
    "make app && lockstep app": "test_app_browser.py",
    "make push": "test_remotes.py",
    "make pull": "test_remotes.py",
}


SECTION = re.compile(r"## Everyday commands\n.*?```console\n(.*?)```.*?```sh\n(.*?)```", re.S)
Shown = dict[str, list[str]]


def shown() -> Shown:
    """The everyday commands without remarks, and the lines of output below each."""
    found = SECTION.search(README.read_text("utf-8"))
    assert found is not None
    output: Shown = {}
    for line in found[1].splitlines():
        if line.startswith("$ "):
            lines: list[str] = []
            output[line.removeprefix("$ ").split(" #")[0].strip()] = lines
        elif line != "...":
            lines.append(line)
    others = (line.split(" #")[0] for line in found[2].splitlines())
    return output | {
        command.strip(): [] for line in others for command in line.split(";") if command.strip()
    }


def form(line: str) -> str:
    """A line whatever its numbers, the width of its columns and the name of an experiment."""
    line = re.sub(r"(experiment\(s\): )[\w-]+", r"\1NAME", line)
    words = re.sub(r"[-+−]?\d[\d.,]*(e[-+]?\d+)?", "#", line).split()
    if words[-1] in ("better", "worse"):  # which metrics, and how, is the model's affair
        words[1], words[-1] = "METRIC", "CHANGED"
    return " ".join(words)


@pytest.fixture(scope="module")
def walked(
    finished: Project, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """What each command said, in a small project of one workload."""
    project = copied(finished, tmp_path_factory.mktemp("walk") / "project")
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text("utf-8"))
    for other in set(params.pop("workloads")) - {"iclevr"}:
        del params[other]
    params["workloads"] = ["iclevr"]
    path.write_text(yaml.safe_dump(params, sort_keys=False), "utf-8")
    project.dvc("repro")  # params.yaml is another one
    commit(project, "one workload")
    return {  # the other workloads of the preset are not there
        command: project.run(
            "bash", "-c", command.replace("smoke)", "smoke iclevr)").replace("@anime", "@iclevr")
        )
        for command in shown()
        if command not in ELSEWHERE
    }


@pytest.mark.long
@pytest.mark.pipeline
def test_every_command_works(walked: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert len(walked) >= 8  # none is left out silently
    said = {name: done.stdout + done.stderr for name, done in walked.items()}
    assert not [name for name, text in said.items() if re.search(r"^(error|ERROR):", text, re.M)]


@pytest.mark.long
@pytest.mark.pipeline
def test_they_do_what_their_remarks_say(
    walked: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    def stages(start: str) -> list[str]:
        (done,) = (each for name, each in walked.items() if name.startswith(start))
        return [stage.split("@")[0] for stage in ran(done.stdout)]

    assert stages("dvc repro") == []
    assert sorted(stages("dvc exp run -S train.lr")) == [
        "check",
        "evaluate",
        "sample",
        "train",
    ]
    assert stages("dvc exp run -S iclevr.sample.classifier_scale") == [
        "check",
        "sample",
        "evaluate",
    ]
    assert "accuracy_test" in walked["dvc exp show"].stdout
    assert "LockstepPipeline" in walked["lockstep export iclevr FOLDER"].stdout


@pytest.mark.long
@pytest.mark.pipeline
def test_they_print_what_is_shown(walked: dict[str, subprocess.CompletedProcess[str]]) -> None:
    for command, lines in shown().items():
        if lines:
            expected = {form(line) for line in lines}
            printed = [form(line) for line in walked[command].stdout.splitlines() if line.strip()]
            fitting = [line for line in printed if line in expected]
            if command.startswith("lockstep compare"):  # of small models perhaps nothing differs
                found = re.search(r"^(\d+) of \d+ differences", walked[command].stdout, re.M)
                assert found is not None
                assert len(fitting) == int(found[1])
            else:
                assert fitting, command


def test_the_metrics_shown_are_the_committed_ones() -> None:
    again = "README.md: the everyday experiment is one of earlier results; run it again"
    output = shown()
    changes = [line.split() for line in output["dvc metrics diff"]]
    assert changes
    after = {}
    for path, name, before, now, change in changes:
        committed = json.loads((README.parent / path).read_text("utf-8"))[name]
        assert float(before) == pytest.approx(committed, abs=1e-5), again
        assert float(now) - float(before) == pytest.approx(float(change), abs=2e-5)
        after[name] = committed, float(now)
    for line in output["lockstep compare HEAD"]:
        _, name, *values = line.split()
        assert [*map(float, values[:2])] == pytest.approx(after[name], rel=1e-3), again


def test_what_is_run_elsewhere_is_in_the_readme() -> None:
    assert ELSEWHERE.keys() <= shown().keys()
    for name in ELSEWHERE.values():
        assert Path(__file__).with_name(name).exists()
