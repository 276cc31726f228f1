from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import LockstepError, Stopped
from lockstep.history import History
from lockstep.lock import exclusive, is_held
from lockstep.training import ema, learning_rate, loop
from lockstep.training.batches import batch_positions, random_numbers
from lockstep.training.checkpoint import KEEP, Checkpoints, remove_finished
from lockstep.training.state import State
from tiny import tiny_dataset, tiny_params

TESTS = Path(__file__).resolve().parent


def nothing(step: int, row: dict[str, float]) -> None:
    pass


def state_of(trained: State) -> dict[str, torch.Tensor]:
    return {
        **{f"model.{k}": v for k, v in trained.model.state_dict().items()},
        **{f"average.{k}": v for k, v in trained.average.state_dict().items()},
    }


def same_bytes(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# Learning rate and average


@given(st.integers(1, 500), st.integers(0, 100), st.sampled_from(["constant", "linear", "cosine"]))
def test_the_rate_warms_up_and_never_leaves_its_range(steps, warmup, decay) -> None:
    factors = [
        learning_rate.factor(s, steps=steps, warmup=warmup, decay=decay) for s in range(steps)
    ]
    assert all(0 < f <= 1 for f in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_the_rate_against_torchs_own_schedulers() -> None:
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        expected = learning_rate.factor(step, steps=50, warmup=0, decay="cosine")
        assert scheduler.get_last_lr()[0] == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        scheduler.step()
    assert learning_rate.factor(30, steps=50, warmup=10, decay="linear") == 0.5


def test_the_average_of_a_constant_decay_has_a_closed_form() -> None:
    average, decay = [torch.zeros(3)], 0.9
    weights = torch.tensor([1.0, 2.0, 3.0])
    for _ in range(20):
        ema.update(average, [weights], decay)
    assert torch.allclose(average[0], weights * (1 - decay**20))
    assert ema.decay_at(0, 0.999) == 0.1
    assert ema.decay_at(10**6, 0.999) == 0.999


# The order of the pictures


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 30))
def test_every_epoch_has_every_picture_once(seed, batch_size, count) -> None:
    steps = math.ceil(3 * count / batch_size)
    row = np.concatenate([batch_positions(seed, s, batch_size, count) for s in range(steps)])
    for epoch in range(3):
        assert sorted(row[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_streams_do_not_meet() -> None:
    draws = {
        (seed, stream, index): random_numbers(seed, stream, index).integers(2**62)
        for seed in range(4)
        for stream in range(4)
        for index in range(50)
    }
    assert len(set(draws.values())) == len(draws)


# Training


def test_it_learns_and_repeats_to_the_bit(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "data")
    params = tiny_params(steps=150, batch_size=8, validate_every=150, log_every=10, lr=3e-3)
    once = loop.train(params, data, "fp32", Checkpoints(tmp_path / "a"), nothing)
    again = loop.train(params, data, "fp32", Checkpoints(tmp_path / "b"), nothing)
    assert same_bytes(state_of(once), state_of(again))
    assert once.history == again.history
    losses = [row["loss"] for row in once.history.train]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "data")
    models = [
        loop.train(tiny_params(seed=s), data, "fp32", Checkpoints(tmp_path / f"{s}"), nothing)
        for s in (0, 1)
    ]
    assert not same_bytes(*map(state_of, models))


class _Killed(Exception):
    pass


@pytest.mark.parametrize(("at", "dropout"), [(3, 0.0), (4, 0.3), (7, 0.3), (11, 0.0)])
def test_interrupted_and_resumed_gives_the_same_bytes(
    tmp_path: Path, at: int, dropout: float
) -> None:
    data = tiny_dataset(tmp_path / "data")
    params = tiny_params(log_every=1)
    model = dataclasses.replace(params.model, dropout=dropout)
    params = dataclasses.replace(params, model=model)
    whole = loop.train(params, data, "fp32", Checkpoints(tmp_path / "whole"), nothing)

    def kill(step: int, row: dict[str, float]) -> None:
        if step == at:
            raise _Killed

    with pytest.raises(_Killed):
        loop.train(params, data, "fp32", Checkpoints(tmp_path / "cut"), kill)
    resumed = loop.train(params, data, "fp32", Checkpoints(tmp_path / "cut"), nothing)
    assert same_bytes(state_of(whole), state_of(resumed))
    assert whole.history == resumed.history


_CHILD = """
import dataclasses
import sys
from pathlib import Path
sys.path[:0] = [{src!r}, {tests!r}]
from tiny import tiny_params
from lockstep.dataset import open_dataset
from lockstep.generator import Generator
from lockstep.training import loop
from lockstep.training.checkpoint import Checkpoints
from lockstep.weights import save_weights
root = Path({root!r})
trained = loop.train(
    dataclasses.replace(tiny_params(steps=60), checkpoint_every=2), open_dataset(root / "data"),
    "fp32", Checkpoints(root / sys.argv[1]), lambda step, row: print("step", step, flush=True),
)
save_weights(trained.average, root / sys.argv[2])
"""


def test_killed_with_sigkill_at_random_moments(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "data")
    code = _CHILD.format(src=str(TESTS.parent / "src"), tests=str(TESTS), root=str(tmp_path))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(scratch: str, out: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, scratch, out]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    assert start("whole", "whole.safetensors").wait(120) == 0
    random = np.random.default_rng(0)
    kills = 0
    for _ in range(4):
        child = start("cut", "cut.safetensors")
        assert child.stdout is not None
        if child.stdout.readline():  # training has begun
            time.sleep(random.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        kills += child.wait(120) == -signal.SIGKILL
    assert kills > 0, "every child ended before its kill: make the training longer"
    assert start("cut", "cut.safetensors").wait(120) == 0
    whole = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "cut.safetensors").read_bytes() == whole


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_says_so(tmp_path: Path, which: signal.Signals) -> None:
    data = tiny_dataset(tmp_path / "data")
    params = dataclasses.replace(tiny_params(log_every=1), checkpoint_every=1000)
    before = signal.getsignal(which)

    def stop(step: int, row: dict[str, float]) -> None:
        if step == 5:
            os.kill(os.getpid(), which)

    with pytest.raises(Stopped, match=r"stopped at step \d of 12; the same command goes on"):
        loop.train(params, data, "fp32", Checkpoints(tmp_path / "cut"), stop)
    assert signal.getsignal(which) is before
    found = Checkpoints(tmp_path / "cut").latest()
    assert found is not None and found[0] == 5


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "data")
    params = tiny_params(lr=1e30, warmup_steps=0, max_grad_norm=None)
    params = dataclasses.replace(params, checkpoint_every=1)
    checkpoints = Checkpoints(tmp_path / "scratch")
    with pytest.raises(LockstepError, match=r"the loss is .* at step \d+; .* lower train.lr"):
        loop.train(params, data, "fp32", checkpoints, nothing)
    assert checkpoints.latest() is not None


# Checkpoints


def test_checkpoints_come_back_and_old_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "scratch")
    assert checkpoints.latest() is None
    for step in (1, 2, 3, 4):
        checkpoints.save(step, {"x": torch.full((2,), float(step))}, vars(History()))
    found = checkpoints.latest()
    assert found is not None
    step, state, history = found
    assert (step, state["x"].tolist(), history) == (4, [4.0, 4.0], vars(History()))
    assert len(list((tmp_path / "scratch").iterdir())) == KEEP


@pytest.mark.parametrize("damage", ["truncate", "garbage", "remove"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str, capsys) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"x": torch.ones(100)}, {})
    victim = tmp_path / "step-000000002/state.safetensors"
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-30])
    elif damage == "garbage":
        victim.write_bytes(b"garbage")
    else:
        victim.unlink()
    found = checkpoints.latest()
    assert found is not None and found[0] == 1
    assert "step-000000002: damaged checkpoint passed over" in capsys.readouterr().err


def test_a_failed_save_leaves_the_one_before(tmp_path: Path, monkeypatch) -> None:
    from lockstep.training import checkpoint

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": torch.ones(3)}, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(2, {"x": torch.ones(3)}, {})
    found = checkpoints.latest()
    assert found is not None and found[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_finished_trainings_go_when_the_next_begins(tmp_path: Path) -> None:
    done, running, ours = (Checkpoints(tmp_path / name) for name in ("done", "running", "ours"))
    for checkpoints in (done, running, ours):
        checkpoints.save(1, {"x": torch.ones(3)}, {})
    done.finish()
    ours.finish()
    remove_finished(tmp_path, but=ours.folder)
    assert done.latest() is None
    assert running.latest() is not None
    assert ours.latest() is not None


def test_the_lock_makes_a_second_process_wait_and_say_so(tmp_path: Path) -> None:
    lock = tmp_path / "training.lock"
    code = (
        "import sys, pathlib; from lockstep.lock import exclusive\n"
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
