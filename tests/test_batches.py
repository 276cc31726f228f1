"""Which images, noise and levels a step sees, however it is cut up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError
from lockstep.diffusion.noise import ImageNoise
from lockstep.training import batches
from lockstep.training.batches import Batch, batch_positions, random_numbers, training_batches
from tiny import tiny_dataset, tiny_params


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 30))
def test_every_epoch_has_every_image_once(seed, batch_size, count) -> None:
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


def as_process(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(size))


def joined(parts: list[Batch]) -> dict[str, torch.Tensor]:
    tensors = [
        {
            **{name: getattr(part, name) for name in ("x0", "noise", "t")},
            "values": part.condition.values,
            "given": part.condition.given,
        }
        for part in parts
    ]
    return {name: torch.cat([some[name] for some in tensors]) for name in tensors[0]}


def drawn(params: Params, data: batches.Dataset, step: int) -> list[Batch]:
    ((number, parts),) = training_batches(data, params, range(step, step + 1))
    assert number == step
    return parts


@pytest.mark.parametrize(("size", "accumulation"), [(1, 3), (2, 1), (3, 2), (2, 3)])
def test_the_parts_of_all_processes_make_up_the_same_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, accumulation: int
) -> None:
    data = tiny_dataset(tmp_path)
    whole = joined(drawn(tiny_params(batch_size=7), data, 5))
    params = tiny_params(batch_size=7, accumulation=accumulation)
    parts = []
    for rank in range(size):
        as_process(monkeypatch, rank, size)
        own = drawn(params, data, 5)
        assert len(own) == accumulation
        parts += own
    assert all(len(part.t) > 0 for part in parts)
    assert all(torch.equal(whole[name], tensor) for name, tensor in joined(parts).items())


def test_each_process_draws_the_noise_of_its_own_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, drawn_by = tiny_dataset(tmp_path), []

    class Counting(ImageNoise):
        def __init__(self, seed: int, indices: Sequence[int], shape: Sequence[int]) -> None:
            drawn_by.append(len(indices))
            super().__init__(seed, indices, shape)

    monkeypatch.setattr(batches, "ImageNoise", Counting)
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        drawn(tiny_params(batch_size=8), data, 5)
        list(batches.validation_batches(data, tiny_params()))
    assert drawn_by == [2, 2, 3, 3, 3, 3]


def test_validation_is_the_same_however_it_is_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, params = tiny_dataset(tmp_path, 400), tiny_params()  # 80 held out: two batches
    whole = [batch for batch, _ in batches.validation_batches(data, params)]
    shares = []
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        shares.append([batch for batch, _ in batches.validation_batches(data, params)])
    assert len(whole) == 2
    for number, batch in enumerate(whole):
        parts = joined([share[number] for share in shares])
        assert all(torch.equal(parts[name], tensor) for name, tensor in joined([batch]).items())


def test_no_two_images_get_the_same_noise(tmp_path: Path) -> None:
    data, params = tiny_dataset(tmp_path), tiny_params(batch_size=32)
    noise = [drawn(params, data, step)[0].noise for step in (0, 1, 2**27 - 1, 2**27, 2**28)]
    noise += [batch.noise for batch, _ in batches.validation_batches(data, params)]
    every = torch.cat(noise)
    assert len(every.flatten(1).unique(dim=0)) == len(every)
    assert every.mean().abs() < 0.01 and (every.std() - 1).abs() < 0.01


def test_drawing_ahead_changes_nothing(tmp_path: Path) -> None:
    data, params = tiny_dataset(tmp_path), tiny_params()
    row = list(training_batches(data, params, range(3, 8)))
    assert [step for step, _ in row] == [3, 4, 5, 6, 7]
    for step, parts in row:
        assert torch.equal(joined(parts)["noise"], joined(drawn(params, data, step))["noise"])


def test_levels_are_spread_over_each_batch_and_uniform_in_the_long_run(tmp_path: Path) -> None:
    data, params = tiny_dataset(tmp_path, 200), tiny_params(batch_size=10)
    levels = torch.stack([drawn(params, data, step)[0].t for step in range(500)])
    assert (levels // 100 == torch.arange(10)).all()  # one in each tenth of the 1,000
    counts = (levels % 100).flatten().bincount(minlength=100)
    # 5,000 draws of 100 places: 50 each, with a standard deviation of 7
    assert counts.min() > 20 and counts.max() < 80


def test_there_may_be_fewer_levels_than_images(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path, 200)
    base = tiny_params(batch_size=10)
    params = dataclasses.replace(base, diffusion=dataclasses.replace(base.diffusion, timesteps=3))
    for step in range(20):
        levels = drawn(params, data, step)[0].t.tolist()
        assert levels[:3] == [0, 0, 0] and levels[4:6] == [1, 1] and levels[7:] == [2, 2, 2]
        assert levels[3] in (0, 1) and levels[6] in (1, 2)


def test_conditions_are_dropped_image_by_image(tmp_path: Path) -> None:
    data, params = tiny_dataset(tmp_path, 200), tiny_params(batch_size=100, condition_dropout=0.3)
    conditions = [drawn(params, data, step)[0].condition for step in range(20)]
    given = torch.cat([some.given for some in conditions])
    assert 1 - given.float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert (torch.cat([some.values for some in conditions]).sum(1) == 1).all()


def test_half_are_mirrored_and_nothing_else_changes(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path)
    plain = drawn(tiny_params(batch_size=30), data, 2)[0]
    flipped = drawn(tiny_params(batch_size=30, flip=True), data, 2)[0]
    same = [torch.equal(a, b) for a, b in zip(plain.x0, flipped.x0, strict=True)]
    mirrored = [torch.equal(a.flip(2), b) for a, b in zip(plain.x0, flipped.x0, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 5 <= sum(mirrored) <= 25
    one, other = joined([plain]), joined([flipped])
    for name in ("noise", "t", "values", "given"):
        assert torch.equal(one[name], other[name])


def test_validation_is_always_the_same_and_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, params = tiny_dataset(tmp_path, 500), tiny_params()  # 100 held out: two batches of 50
    whole = list(batches.validation_batches(data, params))
    assert [count for _, count in whole] == [50, 50]
    again = list(batches.validation_batches(data, params))
    assert torch.equal(whole[1][0].noise, again[1][0].noise)
    levels = torch.cat([batch.t for batch, _ in whole]).sort().values
    assert levels[0] == 0 and levels[-1] == 999
    assert np.diff(levels.numpy()).max() <= 11
    parts = []
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        parts.append(list(batches.validation_batches(data, params)))
    for i, (batch, _) in enumerate(whole):
        assert torch.equal(batch.noise, torch.cat([part[i][0].noise for part in parts]))


# What does not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 33}, r"train.batch_size: 33 is more than the 32 images there are"),
        ({"batch_size": 4, "accumulation": 5}, r"train.batch_size: 4 does not give each of 5"),
        ({"flip": True}, r"train.flip: the conditions of iclevr speak of left and right"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(tmp_path: Path, changes, message: str) -> None:
    data = dataclasses.replace(tiny_dataset(tmp_path), mirrorable=False)
    with pytest.raises(LockstepError, match=message):
        batches.check(tiny_params(**changes), data)


def test_an_average_that_will_not_come_out_is_refused_at_the_start(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path)

    def check(weights: str, **kept: object) -> None:
        params = tiny_params(steps=32, ema_sigma_rel=(0.05, 0.1), **kept)
        sample = dataclasses.replace(params.sample, weights=weights)
        batches.check(dataclasses.replace(params, sample=sample), data)

    check("ema_0.05")
    check("ema_0.07")
    check("ema_0.15", snapshots=(4, 8, 12, 16, 20, 24, 28))
    with pytest.raises(LockstepError, match=r"ema_0.15: what training keeps \(2 averages\) gives"):
        check("ema_0.15")


def test_fewer_held_out_images_than_processes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_dataset(tmp_path, 10)
    as_process(monkeypatch, 0, 3)
    with pytest.raises(LockstepError, match=r"dataset.validation: leaves 2 images to 3 proc"):
        batches.check(tiny_params(), data)
