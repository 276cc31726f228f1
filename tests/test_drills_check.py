"""The drills that take seconds: the stage that every run begins with, in a checkout of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Project, checkout
from drills import ODD, Condition, contents, make_no_difference, needs, one_line, run_stage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """At a path that shells, addresses and ASCII have trouble with; `check` has run once."""
    project = checkout(tmp_path_factory.mktemp("drills") / 'it\'s a "projékt" 中文 x%2Fy?#')
    done = run_stage(project, "check", Condition())
    assert done.returncode == 0, done.stderr
    return project


def test_an_odd_environment(made: Project) -> None:
    make_no_difference(made, "check", ODD)


def test_a_home_that_is_read_only(made: Project, tmp_path: Path) -> None:
    condition = Condition({"HOME": str(tmp_path)}, as_anybody=True)
    needs(condition)
    tmp_path.chmod(0o555)
    make_no_difference(made, "check", condition)


@pytest.mark.parametrize("kind", ["room", "disk", "rights"])
def test_what_cannot_be_written_is_one_line(made: Project, kind: str) -> None:
    data = made.root / "data"
    condition, said = {
        "room": (Condition(largest_file=100), "error: data/code: File too large"),
        "disk": (Condition(small_disk=data), "error: data/code: No space left on device"),
        "rights": (Condition(as_anybody=True), "Permission denied"),
    }[kind]
    needs(condition)
    before = contents([data])
    data.chmod(0o555 if kind == "rights" else 0o755)
    try:
        assert said in one_line(run_stage(made, "check", condition))
    finally:
        data.chmod(0o755)
    assert contents([data]) == before
