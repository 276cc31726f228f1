"""Averages made afterwards, against those that were there from the first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.weights import file_stem
from lockstep.core.errors import LockstepError
from lockstep.core.weights import save_weights
from lockstep.models import post_hoc
from lockstep.models.post_hoc import Average, combination
from lockstep.training import ema

STEPS, WIDTHS = 400, (0.05, 0.1)
EVENLY = tuple(Average(STEPS * n // 8, width) for n in range(1, 9) for width in WIDTHS)


def profile(average: Average) -> np.ndarray:
    """What the weights after each of `STEPS` steps count in it, by the updates of a training."""
    exponent = post_hoc.exponent_of(average.sigma_rel)
    decays = np.array([ema.power(step, exponent=exponent) for step in range(average.step)])
    after = np.append(np.cumprod(decays[::-1])[::-1][1:], 1.0)
    return np.pad((1 - decays) * after, (0, STEPS - average.step))


@pytest.mark.parametrize("sigma_rel", [0.04, 0.07, 0.1, 0.15, 0.2])
def test_profiles_add_up_to_another_width(sigma_rel: float) -> None:
    wanted = Average(STEPS, sigma_rel)
    factors, misfit = combination(EVENLY, wanted)
    made = sum(f * profile(each) for f, each in zip(factors, EVENLY, strict=True))
    expected = profile(wanted)
    error = np.linalg.norm(made - expected) / np.linalg.norm(expected)
    assert misfit < 0.1
    # A training's profile is in steps, that of the formulas is smooth.
    assert error == pytest.approx(misfit, abs=0.02)
    assert sum(factors) == pytest.approx(1)


def test_nothing_is_nearer() -> None:
    """The factors solve the least squares that they are said to."""
    wanted = Average(STEPS, 0.15)
    basis = np.stack([profile(each) for each in EVENLY], axis=1)
    best = np.linalg.lstsq(basis, profile(wanted), rcond=None)[0]
    least = np.linalg.norm(basis @ best - profile(wanted)) / np.linalg.norm(profile(wanted))
    assert combination(EVENLY, wanted)[1] == pytest.approx(least, abs=0.02)


@given(st.sets(st.tuples(st.integers(1, 50), st.sampled_from((0.03, 0.1, 0.25))), min_size=1))
def test_one_that_is_kept_is_itself(kept: set[tuple[int, float]]) -> None:
    averages = [Average(*each) for each in sorted(kept)]
    factors, misfit = combination(averages, averages[-1])
    assert misfit < 1e-5
    assert factors[-1] == pytest.approx(1, abs=1e-4)
    assert factors[:-1] == pytest.approx([0] * (len(factors) - 1), abs=1e-4)


def test_what_came_later_does_not_count() -> None:
    kept = [*EVENLY[:6], Average(STEPS + 1, 0.05)]
    factors, _ = combination(kept, Average(STEPS, 0.07))
    assert factors[-1] == 0
    assert combination([Average(9, 0.1)], Average(8, 0.1)) == ([0.0], 1.0)


def test_more_snapshots_are_nearer() -> None:
    misfits = [
        combination([Average(STEPS * i // n, w) for i in range(1, n + 1) for w in WIDTHS], wanted)
        for n in (1, 2, 4, 8, 16)
        for wanted in (Average(STEPS, 0.15),)
    ]
    found = [misfit for _, misfit in misfits]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.01


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A model's folder of a training whose weights walk at random, and its average of 0.07."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.zeros(5)
    averages = {width: torch.zeros(5) for width in (*WIDTHS, 0.07)}
    for step in range(STEPS):
        weights += torch.randn(5, generator=draw)
        for width, average in averages.items():
            decay = ema.power(step, exponent=post_hoc.exponent_of(width))
            ema.update([average], [weights], decay)
        for width in WIDTHS:
            name = None
            if (step + 1) % 50 == 0:
                name = file_stem(step + 1, f"ema_{width}")
            if step + 1 == STEPS:
                name = f"ema_{width}"
            if name is not None:
                save_weights({"w": averages[width]}, tmp_path / f"{name}.safetensors")
    save_weights({"w": weights}, tmp_path / "last.safetensors")
    save_weights({"w": weights}, tmp_path / "step_50.safetensors")
    return tmp_path, averages[0.07]


def test_weights_come_out_as_if_they_had_been_averaged(kept: tuple[Path, torch.Tensor]) -> None:
    folder, expected = kept
    files = post_hoc.averages_in(folder, STEPS)
    assert set(files) == set(EVENLY)
    found = post_hoc.average(files, Average(STEPS, 0.07))
    assert found["w"].dtype == torch.float32
    # The weights have walked for some 20 by then, and are 1 away from their average.
    assert torch.allclose(found["w"], expected, atol=0.05)


def test_a_width_that_is_too_far_is_refused(kept: tuple[Path, torch.Tensor]) -> None:
    files = post_hoc.averages_in(kept[0], STEPS)
    with pytest.raises(
        LockstepError,
        match=r"ema_0.01: what training keeps \(16 averages\) .* 0.05 or 0.1, or train",
    ):
        post_hoc.average(files, Average(STEPS, 0.01))


def test_another_models_weights_among_them_are_named(kept: tuple[Path, torch.Tensor]) -> None:
    name = kept[0] / "step_200_ema_0.1.safetensors"
    for other in ({"w": torch.zeros(6)}, {"v": torch.zeros(5)}):
        save_weights(other, name)
        with pytest.raises(LockstepError, match=r"step_200_ema_0.1.safetensors: not this model"):
            post_hoc.average(post_hoc.averages_in(kept[0], STEPS), Average(STEPS, 0.07))
