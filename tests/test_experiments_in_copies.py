"""Experiments in a clone without its history, by real `git clone --depth 1`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conftest import Project, checkout, commit

TEMP = ("exp", "run", "--temp", "-S", "train.lr=0.002", "check")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Its newest commit of two alone."""
    whole = checkout(tmp_path / "whole")
    commit(whole, "as it is")
    whole.exclude("# another commit")
    commit(whole, "a second one")
    root = tmp_path / "project"
    command = ["git", "clone", "--quiet", "--depth", "1", whole.root.as_uri(), str(root)]
    subprocess.run(command, check=True)
    project = Project(root)
    project.run("git", "config", "user.name", "tester")
    project.run("git", "config", "user.email", "tester@example.com")
    return project


def test_an_experiment_in_a_copy_is_refused(project: Project) -> None:
    done = project.dvc(*TEMP, check=False)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        f"error: {project.root}: a shallow clone, in which DVC records no experiment of `--temp` "
        "or `--queue`; run `git fetch --unshallow` there first"
    ]
    assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.long
def test_with_its_history_it_is_recorded(project: Project) -> None:
    project.run("git", "fetch", "--quiet", "--unshallow")
    project.dvc(*TEMP)
    assert len(project.dvc("exp", "list", "--name-only").stdout.split()) == 1


@pytest.mark.long
def test_what_runs_in_the_checkout_itself_needs_no_history(project: Project) -> None:
    project.dvc("exp", "run", "-S", "train.lr=0.002", "check")
    assert len(project.dvc("exp", "list", "--name-only").stdout.split()) == 1
