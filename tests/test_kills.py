"""SIGKILL at random moments, again and again: the bytes in the end are those of a quiet run."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import train_tiny
from tiny import tiny_dataset

KILLS = 20
CHANGES = {
    "steps": 24,
    "checkpoint_every": 1,
    "log_every": 3,
    "validate_every": 4,
    "snapshots": [7, 18],
    "ema_sigma_rel": [0.1],
}


def start(root: Path, run: str) -> multiprocessing.process.BaseProcess:
    """A training in a process of its own, forked from one that has torch imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lockstep.sampling.preview", "lockstep.training.loop"])
    child = context.Process(target=train_tiny.train, args=(root, run, dict(CHANGES)))
    child.start()
    return child


def wait_until_trains(child: multiprocessing.process.BaseProcess, log: Path) -> None:
    deadline = time.monotonic() + 60
    while child.exitcode is None and not log.exists():
        assert time.monotonic() < deadline, "it never said a step"
        child.join(0.01)


def left_by(root: Path, run: str) -> dict[str, bytes]:
    """All that a finished training leaves: weights, history, and the weights put aside."""
    found = {"history": (root / f"{run}.json").read_bytes()}
    found["weights"] = (root / f"{run}.safetensors").read_bytes()
    return found | {path.name: path.read_bytes() for path in (root / run / "weights").iterdir()}


@pytest.mark.drill(
    "Killed at any moment",
    "SIGKILL at 20 random moments of a training, each goes on from its checkpoint",
    "weights and history have the bytes of an undisturbed run",
)
@pytest.mark.long
def test_killed_again_and_again_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "data")
    lasted = 0.0
    for _ in range(2):  # the first one waits for imports
        shutil.rmtree(tmp_path / "quiet", ignore_errors=True)
        began = time.monotonic()
        child = start(tmp_path, "quiet")
        child.join(120)
        assert child.exitcode == 0
        lasted = time.monotonic() - began
    expected = left_by(tmp_path, "quiet")
    assert sorted(expected) == [
        "best.safetensors",
        "history",
        "step_18.safetensors",
        "step_18_ema_0.1.safetensors",
        "step_7.safetensors",
        "step_7_ema_0.1.safetensors",
        "weights",
    ]

    random = np.random.default_rng(0)
    kills, finished, resumed = 0, 0, 0
    while kills < KILLS or finished == 0:
        before = [int(path.name[5:]) for path in (tmp_path / "cut").glob("step-*")]
        (tmp_path / "cut.log").unlink(missing_ok=True)
        child = start(tmp_path, "cut")
        if kills < KILLS:
            # Every other one is let into its training first, however long it takes to start.
            if kills % 2:
                wait_until_trains(child, tmp_path / "cut.log")
            child.join(random.uniform(0, 0.4 * lasted))
        else:
            child.join(120)
        if child.exitcode is None:
            child.kill()
            child.join(60)
        if before and (tmp_path / "cut.log").exists():
            done = int((tmp_path / "cut.log").read_text().split()[0])
            assert done > max(before), "it began anew"
            resumed += 1
        if child.exitcode == -signal.SIGKILL:
            kills += 1
            continue
        assert child.exitcode == 0
        assert left_by(tmp_path, "cut") == expected
        finished += 1
        shutil.rmtree(tmp_path / "cut")
    assert resumed > 3
    print(f"{kills} kills, {resumed} resumed, {finished} finished", file=sys.stderr)
