"""What contributors are given holds: workflows, hooks and the image name what is there."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import lockstep

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
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


def test_a_comparison_has_figures_and_pictures_before_and_after(tmp_path: Path) -> None:
    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=tmp_path, check=True, text=True, stdout=subprocess.PIPE
        ).stdout

    def commit(score: float, lr: float, picture: bytes) -> str:
        (tmp_path / "params.yaml").write_text(f"lr: {lr}\n")
        (tmp_path / "figures.json").write_text(f'{{"score": {score}}}')
        (tmp_path / "faces.png").write_bytes(picture)
        run("git", "add", "--all")
        run("git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-q", "-m", str(score))
        return run("git", "rev-parse", "HEAD").strip()

    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text("metrics: [figures.json]\nparams: [params.yaml]\n")
    first = commit(0.5, 0.1, b"old")
    second = commit(0.75, 0.1, b"new")

    same = run(str(ROOT / "tools" / "compare"), second, second, "https://x.org/raw")
    assert same.count("Nothing changes.") == 4
    text = run(str(ROOT / "tools" / "compare"), first, second, "https://x.org/raw")
    assert re.search(r"\| figures.json +\| score +\| 0.5 +\| 0.75 +\| 0.25 ", text)
    before, after = (f"![faces.png](https://x.org/raw/{c}/faces.png)" for c in (first, second))
    assert f"| faces.png | {before} | {after} |" in text
    assert text.count("Nothing changes.") == 2  # parameters and outputs
