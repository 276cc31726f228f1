"""Drills: each stage as a real process where something is full, read-only, unset or odd."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Project, copied
from drills import (
    ODD,
    STAGES,
    Condition,
    beside,
    contents,
    make_no_difference,
    needs,
    one_line,
    outputs,
    run_stage,
)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def made(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy whose files are its own; each drill leaves its outputs as they were."""
    project = copied(finished, tmp_path_factory.mktemp("drills") / "project")
    for stage in STAGES:
        for path in outputs(project, stage):
            if path.is_dir():
                shutil.copytree(path, path.with_name("own"), symlinks=True)
                shutil.rmtree(path)
                path.with_name("own").rename(path)
    return project


@pytest.fixture
def writable(made: Project) -> Iterator[Project]:
    yield made
    for folder in {path.parent for stage in STAGES for path in outputs(made, stage)}:
        folder.chmod(0o755)


# --- what refuses to be written


@pytest.mark.parametrize("stage", STAGES)
def test_no_room(made: Project, stage: str) -> None:
    """A file can have 20 bytes and no more: one line names the output, the old one stays."""
    places = outputs(made, stage)
    before, around = contents(places), beside(places)
    line = one_line(run_stage(made, stage, Condition(largest_file=20)))
    assert any(said in line for said in ("File too large", "cannot be written")), line
    assert contents(places) == before
    assert beside(places) == around


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(made: Project, stage: str) -> None:
    """The file system of an output has 16 KiB: whatever is written there, mapped arrays too."""
    places = outputs(made, stage)
    condition = Condition(small_disk=places[0].parent)
    needs(condition)
    before = contents(places)
    done = run_stage(made, stage, condition)
    if done.returncode != 0:  # an output may fit
        line = one_line(done)
        assert "No space left" in line or "cannot be written" in line, line
        assert contents(places) == before


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_that_are_read_only(writable: Project, stage: str) -> None:
    condition = Condition(as_anybody=True)
    needs(condition)
    places = outputs(writable, stage)
    before = contents(places)
    for path in places:
        path.parent.chmod(0o555)
    line = one_line(run_stage(writable, stage, condition))
    assert "Permission denied" in line
    assert str(places[0].parent.relative_to(writable.root)) in line
    assert contents(places) == before


# --- what must not matter


@pytest.mark.parametrize("stage", STAGES)
def test_an_odd_environment(made: Project, stage: str) -> None:
    """All of it at once: no home, no UTF-8, a strict umask, and what others set for others."""
    make_no_difference(made, stage, ODD)


@pytest.mark.parametrize("stage", STAGES)
def test_a_home_that_is_read_only(made: Project, stage: str, tmp_path: Path) -> None:
    condition = Condition({"HOME": str(tmp_path), "XDG_CACHE_HOME": None}, as_anybody=True)
    needs(condition)
    tmp_path.chmod(0o555)
    try:
        make_no_difference(made, stage, condition)
    finally:
        tmp_path.chmod(0o755)
    assert not list(tmp_path.iterdir())
