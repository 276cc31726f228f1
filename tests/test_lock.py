from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.core.lock import exclusive, is_held

TESTS = Path(__file__).resolve().parent


@pytest.mark.drill(
    "Two at once",
    "a second process wants to do the same work",
    "it says so and waits",
)
def test_the_lock_makes_a_second_process_wait_and_say_so(tmp_path: Path) -> None:
    lock = tmp_path / "training.lock"
    code = (
        "import sys, pathlib; from lockstep.core.lock import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), 'the same training is running'): print('in')"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent / "src")}
    assert not is_held(lock)
    with exclusive(lock):
        assert is_held(lock)
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(lock)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stderr is not None
        said = child.stderr.readline()
        assert said == "the same training is running in another process; waiting for it to end\n"
        assert child.poll() is None
    out, _ = child.communicate(timeout=60)
    assert (out, child.returncode) == ("in\n", 0)
    assert not is_held(lock)


@pytest.mark.drill("Two at once", "the process that holds a lock is killed", "the lock is free")
def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "training.lock"
    code = (
        "import sys, pathlib, time; from lockstep.core.lock import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])): print('in', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent / "src")},
        text=True,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    assert is_held(lock)
    child.kill()
    child.communicate(timeout=60)
    assert not is_held(lock)
    with exclusive(lock):
        assert is_held(lock)
