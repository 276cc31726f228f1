"""The loop: it learns, repeats to the bit, goes on where it was, and stops where it should."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import train_tiny
from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError, Stopped
from lockstep.core.weights import read_tensors, save_weights
from lockstep.data.dataset import Dataset
from lockstep.models import generator
from lockstep.models.build import noise_schedule
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, Generator
from lockstep.sampling.sample import Trained, sample
from lockstep.training import loop
from lockstep.training.checkpoint import Checkpoints
from lockstep.training.state import State
from tiny import same_bytes, tiny_dataset, tiny_params, weights_of


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return tiny_dataset(tmp_path / "data")


def train(params: Params, data: Dataset, scratch: Path, precision: Any = "fp32") -> State:
    return loop.train(params, data, precision, Checkpoints(scratch))


# Learning


def test_it_learns_and_repeats_to_the_bit(tmp_path: Path, data: Dataset) -> None:
    params = tiny_params(steps=30, batch_size=8, validate_every=30, log_every=10, lr=1e-2)
    once = train(params, data, tmp_path / "a")
    again = train(params, data, tmp_path / "b")
    assert same_bytes(weights_of(once), weights_of(again))
    assert once.history == again.history
    losses = [row["loss"] for row in once.history.train]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "straight", "prediction": "flow"},
        {"schedule": "straight", "shift": 3.0, "prediction": "x0", "times": "logit_normal"},
        {"schedule": "linear", "zero_terminal_snr": True, "prediction": "v"},
    ],
    ids=["flow", "x0 on the straight path", "zero terminal SNR"],
)
def test_other_paths_end_in_the_colour_asked_for(
    tmp_path: Path, data: Dataset, changes: dict[str, Any]
) -> None:
    base = tiny_params(steps=30, batch_size=16, validate_every=30, log_every=10, lr=1e-2)
    params = dataclasses.replace(base, diffusion=dataclasses.replace(base.diffusion, **changes))
    state = train(params, data, tmp_path / "scratch")
    losses = [row["loss"] for row in state.history.train]
    assert losses[-1] < 0.8 * losses[0]
    description = Description(
        unet=params.model.unet(),
        condition="classes",
        labels=3,
        size=16,
        schedule=noise_schedule(params.diffusion),
        prediction=params.diffusion.prediction,
        precision="fp32",
        fingerprint="0" * 64,
        params={},
    )
    trained, classes = Trained(state.model.eval(), description), Conditions.of(torch.eye(3))
    for sampler in ("euler", "dpmpp_2m"):
        settings = dataclasses.replace(params.sample, sampler=sampler, steps=8, guidance_scale=1.0)
        images = sample(trained, settings, classes, seed=0)
        assert images.mean((2, 3)).argmax(1).tolist() == [0, 1, 2]


def test_another_seed_gives_another_model(tmp_path: Path, data: Dataset) -> None:
    models = [train(tiny_params(seed=s), data, tmp_path / f"{s}") for s in (0, 1)]
    assert not same_bytes(*map(weights_of, models))


def test_accumulated_parts_equal_the_big_batch(tmp_path: Path, data: Dataset) -> None:
    changes = {"batch_size": 8, "log_every": 1, "steps": 10, "lr": 1e-3}
    whole = train(tiny_params(**changes), data, tmp_path / "whole")
    losses = [row["loss"] for row in whole.history.train]
    for parts in (3, 8):
        cut = train(tiny_params(**changes, accumulation=parts), data, tmp_path / f"{parts}")
        assert [row["loss"] for row in cut.history.train] == pytest.approx(losses, rel=1e-4), parts
        for name, tensor in whole.model.state_dict().items():
            assert torch.allclose(tensor, cut.model.state_dict()[name], atol=2e-4), (parts, name)


@pytest.mark.parametrize(
    ("optimizer", "reference"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)]
)
def test_weight_decay_is_the_optimizers_own(
    tmp_path: Path, data: Dataset, optimizer: str, reference: type[torch.optim.Optimizer]
) -> None:
    params = tiny_params(optimizer=optimizer, weight_decay=0.1, steps=1, warmup_steps=0, lr=1e-2)
    (made,) = train(params, data, tmp_path / "scratch").optimizers
    assert type(made) is reference
    other = tiny_params(optimizer="adamw", weight_decay=0.0, steps=1, warmup_steps=0, lr=1e-2)
    plain = train(other, data, tmp_path / "plain")
    assert not same_bytes(weights_of(plain), weights_of(train(params, data, tmp_path / "again")))


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_learn_the_same(tmp_path: Path, data: Dataset, precision: str) -> None:
    params = tiny_params(steps=40, batch_size=8, log_every=40, lr=1e-3)
    exact = train(params, data, tmp_path / "fp32").history.train[-1]["loss"]
    low = train(params, data, tmp_path / precision, precision)
    assert low.history.train[-1]["loss"] == pytest.approx(exact, rel=0.03)
    assert {p.dtype for p in low.model.parameters()} == {torch.float32}


def test_the_scaler_leaves_out_a_step_that_overflows(tmp_path: Path, data: Dataset) -> None:
    """fp16 with a scale far too large: steps are left out until it fits, and then it learns."""
    params = dataclasses.replace(tiny_params(steps=30, log_every=1), checkpoint_every=7)
    begin = loop.begin_or_resume

    def huge(*arguments: Any) -> State:
        state = begin(*arguments)
        if state.step == 0:
            state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**30})
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "begin_or_resume", huge)
        whole = train(params, data, tmp_path / "whole", "fp16")
        done = whole._optimizer_steps()
        assert 0 < done < 30
        stop_at(tmp_path / "cut", 10, params, data, "fp16")
        resumed = train(params, data, tmp_path / "cut", "fp16")
    assert resumed._optimizer_steps() == done
    assert same_bytes(weights_of(whole), weights_of(resumed))


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile wants a C++ compiler")
def test_a_compiled_network_gives_the_same_curve(tmp_path: Path, data: Dataset) -> None:
    def params(**changes: Any) -> Params:
        made = tiny_params(steps=6, log_every=1, **changes)
        smallest = dataclasses.replace(made.model, channels=(8,), attention=(False,))
        return dataclasses.replace(made, model=smallest)

    plain = train(params(), data, tmp_path / "plain")
    compiled = train(params(compile=True), data, tmp_path / "compiled")
    one, other = ([row["loss"] for row in state.history.train] for state in (plain, compiled))
    assert other == pytest.approx(one, rel=1e-4)
    assert weights_of(plain).keys() == weights_of(compiled).keys()


def test_compiling_without_a_compiler_is_refused(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LockstepError, match=r"train.compile: torch.compile wants a C\+\+ compiler"):
        train(tiny_params(compile=True), data, tmp_path / "scratch")


def test_averages_of_two_kinds_at_once(tmp_path: Path, data: Dataset) -> None:
    state = train(tiny_params(ema_decay=0.5, ema_sigma_rel=(0.1, 0.2)), data, tmp_path / "scratch")
    assert list(state.averages) == ["ema", "ema_0.1", "ema_0.2"]
    with state.best_guess() as model:
        assert model is state.averages["ema"]
    kinds = [weights_of(state, name) for name in (*state.averages, "last")]
    assert not any(same_bytes(a, b) for i, a in enumerate(kinds) for b in kinds[:i])


def test_without_an_average_the_weights_themselves_are_validated(
    tmp_path: Path, data: Dataset
) -> None:
    params = tiny_params(ema_decay=None, validate_every=1)
    params = dataclasses.replace(params, model=dataclasses.replace(params.model, dropout=0.5))
    shown = []

    def show(step: int, model: Generator) -> None:
        shown.append(model.training)

    state = loop.train(params, data, "fp32", Checkpoints(tmp_path / "scratch"), None, show)
    assert state.averages == {} and state.model.training
    with state.best_guess() as model:
        assert model is state.model and not model.training
    assert shown == [False]
    # Without dropout, that is: the same weights have the same loss.
    tiny = tiny_params(ema_decay=None, validate_every=1, lr=1e-30)
    tiny = dataclasses.replace(tiny, model=params.model)
    rows = train(tiny, data, tmp_path / "still").history.validation
    assert len({row["val_loss"] for row in rows}) == 1


# Weights on the way, and from elsewhere


def test_best_and_snapshots_are_put_aside(tmp_path: Path, data: Dataset) -> None:
    params = tiny_params(
        steps=30, validate_every=2, snapshots=(7, 20), lr=5e-2, lr_schedule="constant"
    )
    scratch = tmp_path / "scratch"
    state = train(params, data, scratch)
    losses = [row["val_loss"] for row in state.history.validation]
    best = state.history.validation[int(np.argmin(losses))]["step"]
    assert best not in (20, 30), "let the loss rise in the end, or nothing is shown"
    assert loop.kept(params, state) == ["best", "step_7", "step_20"]
    for name, step in (("best", best), ("step_7", 7), ("step_20", 20)):
        # The same steps at the same rates, and no further.
        until = train(
            tiny_params(**{**vars(params.train), "steps": int(step), "snapshots": ()}),
            data,
            tmp_path / name,
        )
        kept = read_tensors(scratch / f"weights/{name}.safetensors")
        assert same_bytes(kept, weights_of(until, "ema")), name


def test_averages_of_other_widths_are_made_of_the_snapshots(tmp_path: Path, data: Dataset) -> None:
    params = tiny_params(
        steps=32, snapshots=(4, 8, 12, 16, 20, 24, 28), ema_sigma_rel=(0.05, 0.07, 0.1), lr=5e-2
    )
    checkpoints = Checkpoints(tmp_path / "scratch")
    state = loop.train(params, data, "fp32", checkpoints)
    folder = tmp_path / "model"
    folder.mkdir()
    made = {"train.steps": 32}
    description = dataclasses.replace(train_tiny.description(params, data), params=made)
    weights = state.weights()
    exact, narrow = weights.pop("ema_0.07"), weights["ema_0.05"]
    generator.save(folder, description, weights)
    names = [name for name in loop.kept(params, state) if "0.07" not in name]
    assert {"step_4", "step_4_ema_0.05", "step_28_ema_0.1"} <= set(names)
    checkpoints.copy_weights(names, folder)

    model, _ = generator.load(folder, "ema_0.07")
    found = model.state_dict()
    assert same_bytes(found, generator.read_weights(folder, "ema_0.07"))
    assert found.keys() == exact.keys()
    error = sum(((found[name] - exact[name]) ** 2).sum() for name in exact)
    apart = sum(((narrow[name] - exact[name]) ** 2).sum() for name in exact)
    assert error < 0.01 * apart
    with pytest.raises(LockstepError, match=r"step_4_ema_0.07.safetensors: missing"):
        generator.load(folder, "step_4_ema_0.07")


def test_it_begins_from_given_weights(tmp_path: Path, data: Dataset) -> None:
    first = train(tiny_params(), data, tmp_path / "first")
    path = tmp_path / "given.safetensors"
    save_weights(weights_of(first, "ema"), path)
    tuned = train(
        tiny_params(init_from=str(path), lr=1e-30, weight_decay=0.0, steps=2), data, tmp_path / "x"
    )
    assert same_bytes(weights_of(tuned, "last"), weights_of(first, "ema"))
    wider = dataclasses.replace(
        tiny_params(init_from=str(path)),
        model=dataclasses.replace(tiny_params().model, channels=(16, 16)),
    )
    with pytest.raises(LockstepError, match=r"given.safetensors: not this model's weights: "):
        train(wider, data, tmp_path / "y")


def test_grids_are_drawn_each_epoch_and_change_nothing(tmp_path: Path, data: Dataset) -> None:
    params = tiny_params(steps=20, batch_size=5)  # 32 images: an epoch is 6.4 steps
    params = dataclasses.replace(params, model=dataclasses.replace(params.model, dropout=0.2))
    seen = []

    def show(step: int, model: Generator) -> None:
        assert not model.training
        seen.append(step)

    shown = loop.train(params, data, "fp32", Checkpoints(tmp_path / "a"), None, show)
    assert seen == [7, 13, 20]
    assert same_bytes(weights_of(shown), weights_of(train(params, data, tmp_path / "b")))
    seen.clear()
    every_second = dataclasses.replace(params, grid_every_epochs=2)
    loop.train(every_second, data, "fp32", Checkpoints(tmp_path / "c"), None, show)
    assert seen == [13]


# Going on


class _Killed(Exception):
    pass


def stop_at(scratch: Path, at: int, params: Params, data: Dataset, precision: Any = "fp32") -> None:
    def kill(step: int, row: dict[str, float]) -> None:
        if step == at:
            raise _Killed

    with pytest.raises(_Killed):
        loop.train(params, data, precision, Checkpoints(scratch), kill)


@pytest.mark.parametrize(
    ("at", "dropout", "changes"),
    [
        (3, 0.0, {}),
        (4, 0.3, {}),
        (7, 0.3, {"accumulation": 2, "ema_sigma_rel": (0.1,)}),
        (11, 0.0, {"optimizer": "adam", "ema_decay": None, "snapshots": (3, 9)}),
        (6, 0.0, {"optimizer": "muon"}),
    ],
)
def test_interrupted_and_resumed_gives_the_same_bytes(
    tmp_path: Path, data: Dataset, at: int, dropout: float, changes: dict[str, Any]
) -> None:
    params = tiny_params(log_every=1, **changes)
    params = dataclasses.replace(params, model=dataclasses.replace(params.model, dropout=dropout))
    whole = train(params, data, tmp_path / "whole")
    stop_at(tmp_path / "cut", at, params, data)
    seen = []
    checkpoints = Checkpoints(tmp_path / "cut")
    resumed = loop.train(params, data, "fp32", checkpoints, lambda step, row: seen.append(step))
    assert min(seen) == (at - 1) // 4 * 4 + 1, "it did not go on from its last checkpoint"
    assert same_bytes(weights_of(whole), weights_of(resumed))
    assert whole.history == resumed.history
    for name in loop.kept(params, whole):
        kept = [tmp_path / run / f"weights/{name}.safetensors" for run in ("whole", "cut")]
        assert kept[0].read_bytes() == kept[1].read_bytes()


def test_the_curves_grow_while_it_trains_and_begin_at_the_beginning_after_a_stop(
    tmp_path: Path, data: Dataset
) -> None:
    params = tiny_params(log_every=1)
    stop_at(tmp_path / "cut", 6, params, data)
    drawn: list[list[float]] = []
    done = loop.train(
        params,
        data,
        "fp32",
        Checkpoints(tmp_path / "cut"),
        curves=lambda history: drawn.append([row["step"] for row in history.train]),
    )
    assert drawn[0] == [1, 2, 3, 4, 5]  # its last checkpoint was at 4
    assert drawn[-1] == [row["step"] for row in done.history.train]
    assert sorted(drawn, key=len) == drawn


def test_a_checkpoint_kept_too_long_ago_is_no_harm(tmp_path: Path, data: Dataset, capsys) -> None:
    """The newest is damaged: it goes on from the one before, and says so."""
    params = tiny_params(log_every=1)
    whole = train(params, data, tmp_path / "whole")
    stop_at(tmp_path / "cut", 10, params, data)
    (tmp_path / "cut/step-000000008/state.safetensors").write_bytes(b"damaged")
    resumed = train(params, data, tmp_path / "cut")
    assert "step-000000008: damaged checkpoint passed over" in capsys.readouterr().err
    assert same_bytes(weights_of(whole), weights_of(resumed))


# Stopping


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_says_so(
    tmp_path: Path, data: Dataset, which: signal.Signals
) -> None:
    params = dataclasses.replace(tiny_params(log_every=1), checkpoint_every=1000)
    before = signal.getsignal(which)

    def stop(step: int, row: dict[str, float]) -> None:
        if step == 5:
            os.kill(os.getpid(), which)

    checkpoints = Checkpoints(tmp_path / "cut")
    with pytest.raises(Stopped, match=r"stopped at step \d of 12; the same command goes on"):
        loop.train(params, data, "fp32", checkpoints, stop)
    assert signal.getsignal(which) is before
    found = checkpoints.latest()
    assert found is not None and found.step == 5


@pytest.mark.parametrize("log_every", [1, 5])
def test_a_loss_that_is_not_finite_names_the_step(
    tmp_path: Path, data: Dataset, log_every: int
) -> None:
    """However late it is read, the step is the one that went wrong, and nothing after is saved."""
    params = tiny_params(
        lr=1e30, warmup_steps=0, max_grad_norm=None, log_every=log_every, snapshots=(4,)
    )
    params = dataclasses.replace(params, checkpoint_every=log_every)
    checkpoints = Checkpoints(tmp_path / "scratch")
    with pytest.raises(LockstepError, match=r"the loss is .* at step 2; .* lower train.lr"):
        loop.train(params, data, "fp32", checkpoints)
    found = checkpoints.latest()
    assert found is None or found.step == 1
    assert not (checkpoints.folder / "weights").exists()


def test_data_that_changes_meanwhile_ends_it(tmp_path: Path, data: Dataset) -> None:
    def change(step: int, row: dict[str, float]) -> None:
        if step == 6:
            with (data.folder / "images.npy").open("r+b") as file:
                file.seek(2000)
                file.write(b"changed")

    params = tiny_params(log_every=1)
    checkpoints = Checkpoints(tmp_path / "scratch")
    with pytest.raises(LockstepError, match=r"data: changed while it was read; `dvc repro`"):
        loop.train(params, data, "fp32", checkpoints, change)
    found = checkpoints.latest()
    assert found is not None and found.step == 4  # the last one from before
