"""Averages of the weights against their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.models.post_hoc import exponent_of
from lockstep.training import ema
from tiny import tiny_params


def average_of(values: list[float], profile: ema.Profile) -> float:
    average = [torch.full((1,), -1.0, dtype=torch.float64)]  # a start that must be forgotten
    for step, value in enumerate(values):
        ema.update(average, [torch.full((1,), value, dtype=torch.float64)], profile(step))
    return average[0].item()


def test_a_constant_decay_has_a_closed_form() -> None:
    average, decay = [torch.zeros(3)], 0.9
    weights = torch.tensor([1.0, 2.0, 3.0])
    for _ in range(20):
        ema.update(average, [weights], decay)
    assert torch.allclose(average[0], weights * (1 - decay**20))
    assert ema.constant(0, decay=0.999) == 0.1
    assert ema.constant(10**6, decay=0.999) == 0.999


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_a_power_of_zero_is_the_mean(values: list[float]) -> None:
    mean = average_of(values, lambda step: ema.power(step, exponent=0))
    assert mean == pytest.approx(np.mean(values), abs=1e-9)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.2])
def test_the_power_function_has_the_width_asked_for(sigma_rel: float) -> None:
    exponent, steps = exponent_of(sigma_rel), 4000
    # The profile itself: what each step's weights count in the end.
    decays = np.array([ema.power(step, exponent=exponent) for step in range(steps)])
    after = np.append(np.cumprod(decays[::-1])[::-1][1:], 1.0)
    profile = (1 - decays) * after
    assert profile.sum() == pytest.approx(1)
    t = (np.arange(steps) + 0.5) / steps
    mean = (profile * t).sum()
    assert math.sqrt((profile * (t - mean) ** 2).sum()) == pytest.approx(sigma_rel, rel=2e-3)


def test_the_exponents_of_the_paper() -> None:
    # Karras et al. 2024 give 6.94 for a width of 0.10 and 16.97 for 0.05.
    assert exponent_of(0.10) == pytest.approx(6.94, abs=0.005)
    assert exponent_of(0.05) == pytest.approx(16.97, abs=0.005)


def test_the_first_step_forgets_the_start() -> None:
    assert ema.power(0, exponent=7.0) == 0


def test_profiles_go_by_name() -> None:
    settings = tiny_params(ema_decay=0.99, ema_sigma_rel=(0.05, 0.1)).train
    assert list(ema.profiles(settings)) == ["ema", "ema_0.05", "ema_0.1"]
    settings = tiny_params(ema_decay=None, ema_sigma_rel=(0.1,)).train
    (name,) = ema.profiles(settings)
    assert name == "ema_0.1"
