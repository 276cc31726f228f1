"""Checkpoints that are whole or not there, on disks that fill up and files that break."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lockstep.core.errors import LockstepError
from lockstep.core.lock import exclusive
from lockstep.core.weights import read_tensors
from lockstep.training.checkpoint import Checkpoint, Checkpoints, remove_finished


def a_checkpoint(step: int, count: int = 3) -> Checkpoint:
    return Checkpoint(step, {"x": torch.full((count,), float(step))}, {"history": [step]})


def test_they_come_back_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "scratch", keep=3)
    assert checkpoints.latest() is None
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(a_checkpoint(step))
    found = checkpoints.latest()
    assert found is not None
    assert (found.step, found.tensors["x"].tolist(), found.record) == (
        5,
        [5.0] * 3,
        {"history": [5]},
    )
    assert len(list((tmp_path / "scratch").glob("step-*"))) == 3


@pytest.mark.parametrize("damage", ["truncate", "garbage", "remove", "record"])
def test_a_damaged_one_is_passed_over(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(a_checkpoint(step, 100))
    victim = tmp_path / "step-000000002/state.safetensors"
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-30])
    elif damage == "garbage":
        victim.write_bytes(b"garbage")
    elif damage == "remove":
        victim.unlink()
    else:
        (victim.parent / "record.json").write_text('{"history": ')
    found = checkpoints.latest()
    assert found is not None and found.step == 1
    assert "step-000000002: damaged checkpoint passed over" in capsys.readouterr().err


def test_going_on_from_before_a_damaged_one_leaves_it_behind(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (7, 8):
        checkpoints.save(a_checkpoint(step))
        (tmp_path / f"step-{step:09d}/state.safetensors").write_bytes(b"damaged")
    assert checkpoints.latest() is None
    for step in (1, 2, 3):
        checkpoints.save(a_checkpoint(step))
        found = checkpoints.latest()
        assert found is not None and found.step == step
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [
        "step-000000002",
        "step-000000003",
    ]


@pytest.mark.parametrize("linked", [True, False])
def test_what_is_put_aside_belongs_to_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """What a killed process put aside after its last checkpoint does not count."""
    if not linked:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.keep_weights("best", {"x": torch.zeros(3)})
    checkpoints.save(a_checkpoint(1))
    checkpoints.keep_weights("best", {"x": torch.ones(3)})
    checkpoints.keep_weights("step_2", {"x": torch.ones(3)})
    assert checkpoints.latest() is not None
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["best.safetensors"]
    assert read_tensors(tmp_path / "weights/best.safetensors")["x"].tolist() == [0, 0, 0]


_ON_A_SMALL_DISK = """
import sys, torch
from pathlib import Path
from lockstep.core.errors import LockstepError
from lockstep.training.checkpoint import Checkpoint, Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]))
large = {"x": torch.zeros(100_000)}
checkpoints.save(Checkpoint(1, {"x": torch.zeros(3)}, {}))
for save in (
    lambda: checkpoints.save(Checkpoint(2, large, {})),
    lambda: checkpoints.keep_weights("best", large),
):
    try:
        save()
    except LockstepError as error:
        print(error)
"""


def test_a_disk_that_fills_up_leaves_the_one_before(tmp_path: Path) -> None:
    def small_disk() -> None:
        """Files of at most 4 KiB, as the kernel has it: a write beyond fails in the middle."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [sys.executable, "-B", "-c", _ON_A_SMALL_DISK, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent / "src")},
        text=True,
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=small_disk,
    )
    checkpoint, weights = done.stdout.splitlines()
    assert "state.safetensors: cannot be written (" in checkpoint
    assert "File too large" in checkpoint and "free some space" in checkpoint
    assert "best" in weights and "cannot be written" in weights
    found = Checkpoints(tmp_path).latest()
    assert found is not None and found.step == 1
    # Neither half a checkpoint nor half of the weights.
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_what_killed_processes_left_behind_goes(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    left = tmp_path / f".step-000000001.{child}"
    left.mkdir()
    (left / "state.safetensors").write_bytes(b"half")
    others = tmp_path / f".step-000000001.{os.getppid()}"  # of a process that lives
    others.mkdir()
    Checkpoints(tmp_path).save(a_checkpoint(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [others.name, "step-000000001"]


def test_weights_put_aside_are_copied_or_missed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "scratch")
    checkpoints.keep_weights("best", {"x": torch.zeros(3)})
    checkpoints.keep_weights("best", {"x": torch.ones(3)})
    out = tmp_path / "out"
    out.mkdir()
    checkpoints.copy_weights(["best"], out)
    assert [path.name for path in out.iterdir()] == ["best.safetensors"]
    with pytest.raises(LockstepError, match=r"step_7.safetensors: gone; `lockstep clean --force`"):
        checkpoints.copy_weights(["step_7"], out)


def test_finished_trainings_go_when_the_next_begins(tmp_path: Path) -> None:
    done, running, ours = (Checkpoints(tmp_path / name) for name in ("done", "running", "ours"))
    for checkpoints in (done, running, ours):
        checkpoints.save(a_checkpoint(1))
    done.finish()
    ours.finish()
    with exclusive(tmp_path / "done.lock"):  # it is just handing on its outputs
        remove_finished(tmp_path, but=ours.folder)
        assert done.latest() is not None
    remove_finished(tmp_path, but=ours.folder)
    assert done.latest() is None
    assert running.latest() is not None
    assert ours.latest() is not None
