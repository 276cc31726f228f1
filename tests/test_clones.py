"""Experiments where DVC loses them or hides them, by real clones and `dvc exp run`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conftest import Project, checkout, commit

TEMP = ("exp", "run", "--temp", "-S", "train.lr=0.002", "check")


def cloned(whole: Project, root: Path, *options: str) -> Project:
    command = ["git", "clone", "--quiet", *options, whole.root.as_uri(), str(root)]
    subprocess.run(command, check=True)
    project = Project(root)
    project.run("git", "config", "user.name", "tester")
    project.run("git", "config", "user.email", "tester@example.com")
    return project


@pytest.fixture
def shallow(tmp_path: Path) -> Project:
    """Its newest commit of two alone."""
    whole = checkout(tmp_path / "whole")
    commit(whole, "as it is")
    whole.exclude("# another commit")
    commit(whole, "a second one")
    return cloned(whole, tmp_path / "project", "--depth", "1")


@pytest.mark.drill(
    "Folders and clones",
    "`dvc exp run --temp` in a shallow clone",
    "one line says `git fetch --unshallow`",
)
def test_an_experiment_in_a_copy_is_refused(shallow: Project) -> None:
    done = shallow.dvc(*TEMP, check=False)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        f"error: {shallow.root}: a shallow clone, in which DVC records no experiment of `--temp` "
        "or `--queue`; run `git fetch --unshallow` there first"
    ]
    assert shallow.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.drill(
    "Folders and clones",
    "the same after `git fetch --unshallow`",
    "the experiment is recorded",
)
@pytest.mark.long
def test_with_its_history_it_is_recorded(shallow: Project) -> None:
    shallow.run("git", "fetch", "--quiet", "--unshallow")
    shallow.dvc(*TEMP)
    assert len(shallow.dvc("exp", "list", "--name-only").stdout.split()) == 1


@pytest.mark.drill(
    "Folders and clones",
    "`dvc exp run` in a shallow clone",
    "the experiment is recorded",
)
@pytest.mark.long
def test_what_runs_in_the_checkout_itself_needs_no_history(shallow: Project) -> None:
    shallow.dvc("exp", "run", "-S", "train.lr=0.002", "check")
    assert len(shallow.dvc("exp", "list", "--name-only").stdout.split()) == 1


# --- a path that is not ASCII


@pytest.mark.drill(
    "Folders and clones",
    "a path that is not ASCII",
    "`dvc repro` works; one warning of `--temp` and `--queue`",
)
def test_a_path_that_is_not_ascii_is_said_before_it_matters(tmp_path: Path) -> None:
    project = checkout(tmp_path / "projékt 中文 it's")
    commit(project, "as it is")
    said = project.dvc("repro", "check").stderr
    (line,) = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert f"{project.root}: not ASCII, with which `dvc exp run --temp` and `--queue`" in line
    project.dvc("cache", "dir", "--local", str(tmp_path / "cache"))
    said = project.dvc("repro", "--force", "check").stderr
    assert "warning: " not in said


@pytest.mark.drill(
    "Folders and clones",
    "`--temp` in such a path after what the warning says",
    "the experiment is recorded",
)
@pytest.mark.long
def test_what_it_says_helps(tmp_path: Path) -> None:
    project = checkout(tmp_path / "projékt 中文 it's")
    commit(project, "as it is")
    done = project.dvc(*TEMP, check=False)  # if it works, DVC has mended it: drop the warning
    assert "'ascii' codec can't encode" in done.stderr
    project.dvc("cache", "dir", "--local", str(tmp_path / "cache"))
    project.dvc(*TEMP)
    assert len(project.dvc("exp", "list", "--name-only").stdout.split()) == 1


# --- a failed experiment


@pytest.mark.drill(
    "Git and DVC",
    "an experiment fails",
    "`git status` shows `params.yaml`, and `git checkout` takes it back",
)
def test_git_sees_what_a_failed_experiment_left(tmp_path: Path) -> None:
    """A value of the same length: git's index tells the two files apart by whole seconds."""
    whole = checkout(tmp_path / "whole")
    commit(whole, "as it is")
    project = cloned(whole, tmp_path / "project")
    params = project.root / "params.yaml"
    before = params.read_text("utf-8")
    done = project.dvc("exp", "run", "-S", "train.lr=-0.01", "check", check=False)
    assert "error: params.yaml: train.lr: input should be greater than 0" in done.stderr
    assert "to go back: `git checkout params.yaml`" in done.stderr
    assert len(params.read_text("utf-8")) == len(before)
    assert params.read_text("utf-8") != before
    assert project.run("git", "status", "--porcelain").stdout == " M params.yaml\n"
    project.run("git", "checkout", "params.yaml")
    assert params.read_text("utf-8") == before


# --- a clone as Windows' git makes it


@pytest.mark.drill(
    "Folders and clones",
    "a clone with `core.autocrlf=true`",
    "the bytes of the commit",
)
def test_line_ends_are_those_of_the_commit(tmp_path: Path) -> None:
    whole = checkout(tmp_path / "whole")
    commit(whole, "as it is")
    project = cloned(whole, tmp_path / "project", "--config", "core.autocrlf=true")
    listed = project.run("git", "ls-files", "-z").stdout.split("\0")
    for name in filter(None, listed):
        assert (project.root / name).read_bytes() == (whole.root / name).read_bytes(), name
