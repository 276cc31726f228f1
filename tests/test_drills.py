"""Drills: each stage as a real process where something is full, read-only, unset or odd."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import Project, copied
from drills import (
    ODD,
    STAGES,
    WORKLOAD,
    Condition,
    Killed,
    beside,
    contents,
    make_no_difference,
    needs,
    one_line,
    outputs,
    run_stage,
)

pytestmark = pytest.mark.long

KILLS = 20
GROWING = f"plots/{WORKLOAD}/train"  # curves so far, while it trains


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


# --- SIGKILL


@pytest.mark.drill(
    "Killed at any moment",
    "SIGKILL at 20 random moments of a stage's work, for each stage, from an empty `.scratch`",
    "each output is whole or not there; the same command ends in the bytes of an undisturbed run",
)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments(made: Project, stage: str, tmp_path: Path) -> None:
    places = outputs(made, stage)
    before, around = contents(places), beside(places)
    random = np.random.default_rng(STAGES.index(stage))
    ended: list[int] = []
    scratch = made.root / ".scratch"
    with Killed(made, stage, tmp_path / "said") as process:
        shutil.rmtree(scratch, ignore_errors=True)
        began = time.monotonic()
        assert process.run() == 0, process.said.read_text()
        lasted = time.monotonic() - began
        assert contents(places) == before
        while ended.count(-signal.SIGKILL) < KILLS:
            if not ended or ended[-1] == 0:  # it begins anew
                shutil.rmtree(scratch, ignore_errors=True)
            ended.append(process.run(random.uniform(0, lasted)))
            assert ended[-1] in (0, -signal.SIGKILL), process.said.read_text()
            assert len(ended) < 10 * KILLS, "it ends before it can be killed"
            for path in set(places) - {made.root / GROWING}:
                whole = {name: before[name] for name in before if belongs(name, path)}
                assert contents([path]) in (whole, {}), path
        assert process.run() == 0, process.said.read_text()
    assert contents(places) == before
    assert beside(places) == around


def belongs(name: str, path: Path) -> bool:
    return Path(name).is_relative_to(path)


# --- what refuses to be written


@pytest.mark.drill(
    "Disk and permissions",
    "a file cannot grow beyond a few bytes (quota)",
    "one line names the output; the old one stays",
)
@pytest.mark.parametrize("stage", STAGES)
def test_no_room(made: Project, stage: str) -> None:
    """One line names the output, the old one stays."""
    # Some outputs have 30 bytes; the semaphores of several processes are files of 32.
    few = 40 if stage == "collect" else 20
    places = outputs(made, stage)
    before, around = contents(places), beside(places)
    line = one_line(run_stage(made, stage, Condition(largest_file=few)))
    assert any(said in line for said in ("File too large", "cannot be written")), line
    assert contents(places) == before
    assert beside(places) == around


@pytest.mark.drill(
    "Disk and permissions",
    "the disk is full",
    "one line names the output; the old one stays",
)
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


@pytest.mark.drill(
    "Disk and permissions",
    "outputs are in a read-only folder",
    "one line names it; the old ones stay",
)
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


@pytest.mark.drill(
    "Environment",
    "no `HOME`, `LC_ALL=C`, umask 077, a proxy, `OMP_NUM_THREADS`, another's MLFLOW_RUN_ID",
    "the same bytes",
)
@pytest.mark.parametrize("stage", STAGES)
def test_an_odd_environment(made: Project, stage: str) -> None:
    """All of it at once: no home, no UTF-8, a strict umask, and what others set for others."""
    make_no_difference(made, stage, ODD)


@pytest.mark.drill(
    "Environment",
    "the home folder is read-only",
    "the same bytes; nothing is written there",
)
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


@pytest.mark.drill(
    "Processor and memory",
    "one core for two threads, and 4 GiB of memory (`RLIMIT_DATA`)",
    "the same bytes",
)
@pytest.mark.parametrize("stage", STAGES)
def test_one_core_and_little_memory(made: Project, stage: str) -> None:
    make_no_difference(made, stage, Condition(one_core=True, memory=4 * 2**30))


@pytest.mark.drill(
    "Environment", "the clock was set back: inputs and `.scratch` are from 2038", "the same bytes"
)
@pytest.mark.parametrize("stage", STAGES)
def test_a_clock_that_was_set_back(made: Project, stage: str) -> None:
    ours = {path for each in STAGES for path in outputs(made, each)}
    for folder in (*ours, made.root / ".scratch"):
        for path in (folder, *folder.rglob("*")):
            if path.is_file():
                os.utime(path, (2**31, 2**31))
    make_no_difference(made, stage, Condition())
