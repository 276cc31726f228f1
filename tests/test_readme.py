"""README.md as a newcomer follows it: its commands, copied from it and run in its order."""

from __future__ import annotations

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


def everyday() -> list[str]:
    """The commands under "Every day", without the remarks."""
    text = README.read_text("utf-8")
    (block,) = re.findall(r"## Every day\n.*?```sh\n(.*?)```", text, re.S)
    lines = (line.split(" #")[0].strip() for line in block.splitlines())
    return [command.strip() for line in lines for command in line.split(";")]


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
    commit(project, "one workload")
    return {  # the other workloads of the preset are not there
        command: project.run("bash", "-c", command.replace("smoke)", "smoke iclevr)"))
        for command in everyday()
        if command not in ELSEWHERE
    }


@pytest.mark.long
def test_every_command_works(walked: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert len(walked) >= 8  # none is left out silently
    said = {name: done.stdout + done.stderr for name, done in walked.items()}
    assert not [name for name, text in said.items() if re.search(r"^(error|ERROR):", text, re.M)]


@pytest.mark.long
def test_they_do_what_their_remarks_say(
    walked: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    def stages(start: str) -> list[str]:
        (done,) = (each for name, each in walked.items() if name.startswith(start))
        return [stage.split("@")[0] for stage in ran(done.stdout)]

    assert stages("dvc repro") == ["check"]  # params.yaml is another one
    assert sorted(stages("dvc exp run -S train.lr")) == [
        "check",
        "evaluate",
        "sample",
        "sweep",
        "train",
    ]
    assert "train" not in stages("dvc exp run -S iclevr.sample.steps")
    assert "accuracy_test" in walked["dvc exp show"].stdout
    assert "accuracy_test" in walked["dvc metrics diff"].stdout
    assert "fd_classifier" in walked["lockstep compare HEAD"].stdout
    assert walked['lockstep sample iclevr "red cube, cyan sphere"'].stdout == "sample.png\n"
    assert "LockstepPipeline" in walked["lockstep export iclevr FOLDER"].stdout


def test_what_is_run_elsewhere_is_in_the_readme() -> None:
    assert ELSEWHERE.keys() <= set(everyday())
    for name in ELSEWHERE.values():
        assert Path(__file__).with_name(name).exists()
