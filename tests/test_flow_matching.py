"""The straight path of flow matching: diffusers' scheduler, and what follows from the path.

diffusers keeps x on the path, (1 - s) x0 + s noise; the schedule here keeps its variance at 1. Both
are compared as the network sees x.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers import scheduling_flow_match_euler_discrete
from torch import Tensor

import trajectories
from lockstep.config.load import load_params
from lockstep.diffusion import (
    Denoiser,
    NoiseSchedule,
    ddim,
    ddpm,
    diffusion_loss,
    dpmpp_2m,
    euler,
    heun,
    min_snr_weights,
    timesteps,
)
from lockstep.training.batches import spread_levels
from tiny import ROOT
from trajectories import CLOSE, SHAPE, TRAJECTORY, check, network, noise, ours, start

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SHIFTS = (1.0, 3.0, 0.5)
STEPS = [
    (1000, 20, "trailing"),
    (1000, 7, "trailing"),
    (1000, 33, "linspace"),
    (100, 30, "leading"),
]


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.in_double(monkeypatch, scheduling_flow_match_euler_discrete)


def straight(shift: float = 1.0, T: int = 1000) -> NoiseSchedule:
    return NoiseSchedule("straight", T, shift=shift)


def theirs(
    scheduler: Any, schedule: NoiseSchedule, levels: list[int], x: Tensor, prediction: str,
    clip: float | None = None,
) -> TRAJECTORY:  # fmt: skip
    """x at each level of the list, of unit variance, and the image at the end."""
    scheduler.set_timesteps(sigmas=[(t + 1) / schedule.timesteps for t in levels])
    xs = [x]
    x = x * norm(scheduler.sigmas[0])
    for i, t in enumerate(levels):
        s = scheduler.sigmas[i]
        output = network(x / norm(s), torch.full((len(x),), t))
        clean = output if prediction == "x0" else x - s * output
        if clip is not None:
            clean = clean.clamp(-clip, clip)
        x = scheduler.step((x - clean) / s, scheduler.timesteps[i], x).prev_sample
        xs.append(x / norm(scheduler.sigmas[i + 1]))
    return xs


def norm(s: Tensor) -> Tensor:
    """The path's deviation where images have 1."""
    return ((1 - s) ** 2 + s**2) ** 0.5


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("prediction", ["flow", "x0"])
@pytest.mark.parametrize("shift", SHIFTS)
def test_euler_is_diffusers(shift: float, prediction: str, clip: float | None) -> None:
    for T, steps, spacing in STEPS:
        schedule, levels = straight(shift, T), timesteps(T, steps, spacing)
        scheduler = FlowMatchEulerDiscreteScheduler(T, shift=shift)
        expected = theirs(scheduler, schedule, levels, start(), prediction, clip)
        denoise = Denoiser(network, schedule, prediction)
        for sampler in (euler, ddim):
            check(ours(sampler, denoise, start(), schedule, levels, clip=clip), expected)


@pytest.mark.parametrize("prediction", ["flow", "x0"])
def test_in_float32_it_is_diffusers_as_it_is(prediction: str) -> None:
    x = start(torch.float32)
    for (T, steps, spacing), clip in itertools.product(STEPS, (None, 0.5)):
        schedule, levels = straight(3.0, T), timesteps(T, steps, spacing)
        scheduler = FlowMatchEulerDiscreteScheduler(T, shift=3.0)
        expected = theirs(scheduler, schedule, levels, x, prediction, clip)
        found = ours(euler, Denoiser(network, schedule, prediction), x, schedule, levels, clip=clip)
        check(found, expected, {"rtol": 1e-5, "atol": 1e-5})


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("shift", SHIFTS)
def test_the_path_is_diffusers_but_for_its_variance(shift: float) -> None:
    schedule, scheduler = straight(shift), FlowMatchEulerDiscreteScheduler(1000, shift=shift)
    t = torch.tensor([0, 1, 499, 998, 999])
    levels = scheduler.sigmas.flip(0)[t]
    x0, drawn = torch.randn(2, len(t), *SHAPE[1:], dtype=torch.float64)
    expected = scheduler.scale_noise(x0, scheduler.timesteps.flip(0)[t], drawn)
    found = schedule.add_noise(x0, drawn, t) * norm(levels).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert torch.equal(schedule.add_noise(x0, drawn, t)[-1], drawn[-1])
    assert bool((schedule.alphas_bar.diff() < 0).all())


def test_both_halves_of_the_truth() -> None:
    x0, drawn = start(), noise()()
    for schedule in (straight(), straight(3.0), NoiseSchedule("squaredcos_cap_v2", 1000)):
        denoise = Denoiser(lambda x, t: drawn - x0, schedule, "flow")
        for t in (0, 1, 500, 999):
            estimate = denoise(schedule.add_noise(x0, drawn, torch.tensor(t)), t)
            torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=1e-12)
            torch.testing.assert_close(estimate.epsilon, drawn, rtol=0, atol=1e-12)


def test_any_sampler_ends_in_the_image_that_the_network_knows() -> None:
    x0 = start().clamp(-1, 1)
    schedule = straight(2.0)

    def says(x: Tensor, t: Tensor) -> Tensor:
        alpha_bar = schedule.alphas_bar[t].reshape(-1, 1, 1, 1)
        return (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt() - x0

    denoise = Denoiser(says, schedule, "flow")
    for levels in (timesteps(1000, 7), timesteps(1000, 30, "linspace"), [999]):
        arguments = (denoise, noise()(), schedule, levels)
        for end in (
            *(sampler(*arguments) for sampler in (ddim, euler, heun, dpmpp_2m)),
            ddpm(*arguments, noise=noise()),
        ):
            torch.testing.assert_close(end, x0, rtol=0, atol=1e-9)


def test_the_loss_is_of_the_way_from_image_to_noise() -> None:
    schedule, t = straight(), torch.tensor([0, 999])
    x0, drawn = start(), noise()()
    zero = diffusion_loss(lambda x, t: drawn - x0, schedule, x0, drawn, t, "flow")
    assert torch.equal(zero, torch.zeros(2))
    one = diffusion_loss(lambda x, t: drawn - x0 + 1, schedule, x0, drawn, t, "flow")
    torch.testing.assert_close(one, torch.ones(2))


def test_min_snr_weighs_the_error_of_x0_alike_whatever_is_predicted() -> None:
    """An error of 1 in x0 is another one in each prediction; times the weight it is the same."""
    schedule = NoiseSchedule("linear", 1000)
    signal = schedule.alphas_bar.sqrt()
    sigma = (1 - schedule.alphas_bar).sqrt()
    # At a given x: epsilon = (x - signal x0) / sigma, so that one more in x0 is that much in flow.
    in_flow = 1 + signal / sigma
    torch.testing.assert_close(
        min_snr_weights(schedule, "flow", 5.0) * in_flow**2,
        min_snr_weights(schedule, "x0", 5.0),
        rtol=1e-12,
        atol=0,
    )


def levels_drawn(times: str, T: int = 1000) -> np.ndarray:
    params = load_params("faces", ROOT / "params.yaml").diffusion
    settings = dataclasses.replace(params, times=times, timesteps=T)
    random = np.random.default_rng(0)
    return np.concatenate([spread_levels(settings, 32, random) for _ in range(1000)])


def test_logit_normal_levels_are_those_of_the_logistic_of_a_normal() -> None:
    drawn = np.sort(levels_drawn("logit_normal"))
    normal = np.random.default_rng(1).standard_normal(len(drawn))
    expected = np.sort(1000 / (1 + np.exp(-normal)))
    middle = slice(len(drawn) // 50, -len(drawn) // 50)
    assert np.abs(drawn - expected)[middle].max() < 15
    uniform = np.sort(levels_drawn("uniform"))
    assert np.abs(uniform - np.linspace(0, 1000, len(uniform))).max() < 3
    for some in (drawn, uniform):
        assert some.min() >= 0 and some.max() <= 999


def test_each_batch_has_a_level_of_each_part() -> None:
    drawn = levels_drawn("logit_normal").reshape(1000, 32)
    assert bool((np.diff(drawn, axis=1) >= 0).all())
    assert float(drawn.mean(1).std()) < 0.2 * float(drawn.std()) / 32**0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shift": 0.0}, "shift: 0.0 is out of range; use 1, or a number above 0"),
        ({"shift": float("inf")}, "shift: inf is out of range"),
        ({"shift": 1e-20}, "shift: 1e-20 adds no noise in float64; use a larger one"),
        ({"shift": 1e300}, "timesteps: 1000 of these betas leave nothing of the image"),
        ({"T": 1}, "timesteps: 1 is the last level and nothing else; use 2 or more"),
    ],
)
def test_refusals(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        straight(**arguments)
    assert sentence in str(refused.value)
    with pytest.raises(ValueError, match="prediction: epsilon says nothing of the image at the"):
        Denoiser(network, straight(), "epsilon")
