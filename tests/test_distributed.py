"""Two processes and one: the same curve, and each takes over from the other."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist

from lockstep.core import distributed
from lockstep.core.errors import LockstepError
from lockstep.core.weights import read_tensors
from tiny import tiny_dataset

PROGRAM = Path(__file__).resolve().parent / "train_tiny.py"


def start(root: Path, run: str, launcher: tuple[str, ...] = (), **changes: Any) -> subprocess.Popen:
    ours = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    return subprocess.Popen(
        [*(launcher or (sys.executable,)), str(PROGRAM), str(root), run, json.dumps(changes)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(child: subprocess.Popen) -> str:
    """Wait for success; gives what it wrote to stderr."""
    _, said = child.communicate(timeout=180)
    assert child.returncode == 0, said
    return said


def losses(root: Path, run: str) -> list[float]:
    history = json.loads((root / f"{run}.json").read_text())
    return [row["loss"] for row in history["train"]] + [
        row["val_loss"] for row in history["validation"]
    ]


def wait_for_step(child: subprocess.Popen, step: int) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line == f"step {step}\n":
            return
    pytest.fail(f"ended before step {step}")


def workers(child: subprocess.Popen) -> list[psutil.Process]:
    """The processes that a launcher started, in the order of their rank."""
    found = psutil.Process(child.pid).children()
    return sorted(found, key=lambda process: int(process.environ()["RANK"]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    tiny_dataset(folder / "data")
    return folder


FIFTY = {"steps": 50, "log_every": 1, "validate_every": 10, "batch_size": 6, "lr": 3e-3}
LONG = {**FIFTY, "steps": 400, "checkpoint_every": 5}


@pytest.fixture(scope="module")
def alone(root: Path) -> list[float]:
    finish(start(root, "alone", **FIFTY, grid_every_epochs=5))
    return losses(root, "alone")


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.parametrize(
    ("run", "launcher", "changes"),
    [
        pytest.param("torchrun", TORCHRUN, {}, marks=pytest.mark.long),
        (
            "ddp",
            (),
            {"launch": 2, "accumulation": 2, "ema_sigma_rel": [0.1], "grid_every_epochs": 5},
        ),
        pytest.param(
            "fsdp",
            (),
            {"launch": 2, "parallel": "fsdp", "grid_every_epochs": 5},
            marks=pytest.mark.long,
        ),
    ],
)
def test_two_processes_give_the_curve_of_one(
    root: Path, alone: list[float], run: str, launcher: tuple[str, ...], changes: dict[str, Any]
) -> None:
    finish(start(root, run, launcher, **FIFTY, **changes))
    assert losses(root, run) == pytest.approx(alone, rel=1e-4)
    one, two = (read_tensors(root / f"{name}.safetensors") for name in ("alone", run))
    assert one.keys() <= two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-3), name
    if "grid_every_epochs" in changes:
        shown, expected = (np.load(root / f"{name}.npz") for name in (run, "alone"))
        for part in ("grid", "strips"):
            assert shown[part].shape == expected[part].shape
            apart = np.abs(shown[part].astype(int) - expected[part])
            assert apart.max() <= 4, f"{part}: {apart.max()} of 255"


@pytest.mark.drill(
    "Killed at any moment",
    "SIGKILL of a training of several processes, which goes on with another number of them",
    "the same curve",
)
@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "after"),
    [({"launch": 2}, {}), ({}, {"launch": 2}), ({"launch": 2, "parallel": "fsdp"}, {})],
)
def test_killed_with_one_number_and_resumed_with_another(
    root: Path, alone: list[float], before: dict[str, Any], after: dict[str, Any]
) -> None:
    run = f"cut-{len(before)}{len(after)}"
    child = start(root, run, **FIFTY, **before)
    wait_for_step(child, 21)
    for process in [*psutil.Process(child.pid).children(), child]:
        process.kill()
    child.wait()
    (root / f"{run}.log").unlink()
    said = finish(start(root, run, **FIFTY, **after))
    assert "damaged" not in said
    assert int((root / f"{run}.log").read_text().split()[0]) > 20, "it began anew"
    assert losses(root, run) == pytest.approx(alone, rel=1e-4)


@pytest.mark.drill(
    "Killed at any moment",
    "one process of a training dies",
    "one line; the others end, and the same command goes on",
)
@pytest.mark.long
def test_a_process_that_dies_ends_the_job_in_one_line(root: Path) -> None:
    child = start(root, "dies", launch=2, **LONG)
    wait_for_step(child, 10)
    workers(child)[1].kill()
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    (line,) = errors
    assert "error: process 1 of 2 was killed by SIGKILL, which ended the others; " in line
    assert "goes on from the last checkpoint" in line
    assert "Traceback" not in said


@pytest.mark.drill(
    "Killed at any moment",
    "SIGTERM or Ctrl-C to a training of several processes",
    "all stop at one step, with a checkpoint",
)
@pytest.mark.long
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_all_stop_at_one_step(root: Path, which: signal.Signals) -> None:
    run = f"stopped-{which.name}"
    child = start(root, run, launch=2, **{**LONG, "checkpoint_every": 1000})
    wait_for_step(child, 10)
    child.send_signal(which)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    found = re.search(r"stopped at step (\d+) of 400; the same command goes on from there", line)
    assert found, said
    assert (root / run / f"step-{int(found[1]):09d}").is_dir()


@pytest.mark.long
def test_a_loss_gone_wrong_is_said_once(root: Path) -> None:
    child = start(root, "nan", launch=2, **{**FIFTY, "lr": 1e30, "warmup_steps": 0})
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert re.search(r"the loss is \w+ and its gradient's norm \w+ at step \d+; ", line)


def test_what_all_processes_meet_is_said_once(root: Path) -> None:
    child = start(root, "big", launch=2, **{**FIFTY, "batch_size": 33})
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert [line for line in said.splitlines() if line] == [
        "error: train.batch_size: 33 is more than the 32 images there are to train on; lower it, "
        "or collect more"
    ]


# Shares


@pytest.mark.parametrize(("count", "size"), [(0, 2), (1, 3), (7, 3), (12, 4)])
def test_shares_are_even_and_make_up_the_whole(
    monkeypatch: pytest.MonkeyPatch, count: int, size: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(size))
    row = list(range(count))
    shares = []
    for rank in range(size):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(row[distributed.share(count)])
    assert list(itertools.chain(*shares)) == row
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (dist.DistNetworkError("The client socket has timed out"), True),
        (dist.DistBackendError("NCCL error: ncclRemoteError: a remote process exiting"), True),
        (RuntimeError("Connection closed by peer [127.0.0.1]:29500"), True),
        (dist.DistBackendError("NCCL error: ncclUnhandledCudaError: out of memory"), False),
        (RuntimeError("expected scalar type Float"), False),
    ],
)
def test_what_fails_in_this_process_is_not_called_the_loss_of_another(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError, loss: bool
) -> None:
    monkeypatch.setattr(distributed, "_connect", lambda backend: None)
    monkeypatch.delenv("LOCKSTEP_LAUNCHED", raising=False)
    with pytest.raises(LockstepError if loss else type(error)) as caught, distributed.group():
        raise error
    assert ("another process of this job ended" in str(caught.value)) == loss
