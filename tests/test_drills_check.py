"""The drills that take seconds: the stage that every run begins with, in a checkout of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY, Project, checkout
from drills import ASCII, ODD, Condition, contents, make_no_difference, needs, one_line, run_stage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """At a path that shells, addresses and ASCII have trouble with; `check` has run once."""
    project = checkout(tmp_path_factory.mktemp("drills") / 'it\'s a "projékt" 中文 x%2Fy?#')
    done = run_stage(project, "check", Condition())
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.drill(
    "Environment",
    "the same for `check`, in a path with spaces, quotes, Chinese, `%2F` and `#`",
    "the same bytes",
)
def test_an_odd_environment(made: Project) -> None:
    make_no_difference(made, "check", ODD)


@pytest.mark.drill("Environment", "the home folder is read-only, in such a path", "the same bytes")
def test_a_home_that_is_read_only(made: Project, tmp_path: Path) -> None:
    condition = Condition({"HOME": str(tmp_path)}, as_anybody=True)
    needs(condition)
    tmp_path.chmod(0o555)
    make_no_difference(made, "check", condition)


@pytest.mark.drill(
    "Disk and permissions",
    "no room, a full disk or no rights, in such a path",
    "one line names the output; the old one stays",
)
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


@pytest.mark.drill(
    "Environment",
    "a name on the command line that the locale cannot say",
    "one line says `PYTHONUTF8=1`; `params.yaml` stays",
)
def test_a_name_that_the_locale_does_not_have(tmp_path: Path) -> None:
    """Not a traceback, nor letters in params.yaml that are none."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    before = (tmp_path / "params.yaml").read_bytes()
    (tmp_path / "中文").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    for text in ("中文".encode(), b"\xff"):
        done = subprocess.run(
            [sys.executable, "-m", "lockstep.cli", "add", "evaluate.reference", text],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **ASCII},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith(b"set PYTHONUTF8=1")
        assert (tmp_path / "params.yaml").read_bytes() == before
