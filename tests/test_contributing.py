"""What contributors are given holds: workflows, hooks and the image name what is there."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import lockstep
from conftest import Project

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
AUTHOR = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def steps() -> Iterator[dict[str, Any]]:
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
            assert job["timeout-minutes"]
            yield from job["steps"]


def commands() -> dict[str, str]:
    """Lines that a machine runs, by where they stand."""
    found = {f"step {n}": step["run"] for n, step in enumerate(steps()) if "run" in step}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    for repo in hooks["repos"]:
        found |= {hook["id"]: hook["entry"] for hook in repo["hooks"]}
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    found["devcontainer"] = container["postCreateCommand"]
    found["CONTRIBUTING.md"] = "\n".join(re.findall(r"^make .*|`make [^`]*`", CONTRIBUTING, re.M))
    return found


@pytest.mark.parametrize(("where", "command"), commands().items(), ids=lambda value: value[:20])
def test_commands_call_targets_and_scripts_that_exist(where: str, command: str) -> None:
    for line in re.findall(r"\bmake ([\w -]+)", command):
        targets = [word for word in line.split() if not word.startswith("-")]
        assert set(targets) <= TARGETS, where
    for script in re.findall(r"\btools/\w+", command):
        assert (ROOT / script).stat().st_mode & 0o100, where


def test_actions_are_pinned_and_python_is_the_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    used = [step for step in steps() if "uses" in step]
    assert used
    for step in used:
        assert re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", step["uses"])
        assert step.get("with", {}).get("python-version", python) == python
    image = re.search(r"^FROM python:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.M)
    assert image and image[1].startswith(f"{python}.")


def test_every_target_is_in_the_makefile_s_head() -> None:
    described = set(re.findall(r"^# make ?([\w-]*)", MAKEFILE, re.MULTILINE))
    assert described | {"all", "env", "format", "remote"} >= TARGETS


def test_the_version_to_cite_is_this_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == lockstep.__version__


def test_paths_in_contributing_exist() -> None:
    for path in re.findall(r"`((?:src|stages|tests|docs|tools|presets)/[^` *]*)`", CONTRIBUTING):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([^)#:]+)", CONTRIBUTING):
        assert (ROOT / path).exists(), path


def test_a_comparison_has_metrics_and_pictures_before_and_after(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")

    def commit(score: float, picture: bytes) -> str:
        (project.root / "metrics.json").write_text(f'{{"score": {score}}}')
        (project.root / "faces.png").write_bytes(picture)
        project.run("git", "add", "--all")
        project.run("git", *AUTHOR, "commit", "--quiet", "--message", f"score {score}")
        return project.run("git", "rev-parse", "HEAD").stdout.strip()

    def compare(*commits: str) -> str:
        return project.run(str(ROOT / "tools/compare"), *commits, "https://x.org/raw").stdout

    (project.root / ".dvc").mkdir(parents=True)
    (project.root / ".dvc" / "config").write_text("[core]\nanalytics = false\n")
    (project.root / "dvc.yaml").write_text("metrics: [metrics.json]\nparams: [params.yaml]\n")
    (project.root / "params.yaml").write_text("lr: 0.1\n")
    project.run("git", "init", "--quiet")
    first, second = commit(0.5, b"old"), commit(0.75, b"new")

    assert compare(second, second).count("Nothing changes.") == 4
    text = compare(first, second)
    assert re.search(r"\| metrics.json +\| score +\| 0.5 +\| 0.75 +\| 0.25 ", text)
    before, after = (f"![faces.png](https://x.org/raw/{c}/faces.png)" for c in (first, second))
    assert f"| faces.png | {before} | {after} |" in text
    assert text.count("Nothing changes.") == 2  # parameters and outputs
