"""Schedules whose last level is nothing but noise: diffusers' tables, its loops, and the limits.

DDIM and DDPM of diffusers take alphas_bar = 0 as it is. Its DPM-Solver and Euler put 2^-24 in its
place; compared with them, so do we.
"""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
)
from diffusers.schedulers import (
    scheduling_ddim,
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_euler_discrete,
)
from torch import Tensor

import trajectories
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
from trajectories import KINDS, check, network, noise, ours, start, their_output

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PREDICTIONS = {"v": "v_prediction", "x0": "sample"}
STEPS = [(7, "trailing"), (20, "trailing"), (33, "linspace"), (30, "leading")]


def rescaled(kind: str, T: int = 1000) -> NoiseSchedule:
    return NoiseSchedule(kind, T, zero_terminal_snr=True)


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.in_double(
        *(monkeypatch, scheduling_ddim, scheduling_ddpm),
        *(scheduling_dpmsolver_multistep, scheduling_euler_discrete),
    )


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("T", [1000, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_are_diffusers(kind: str, T: int) -> None:
    theirs = DDIMScheduler(T, beta_schedule=kind, rescale_betas_zero_snr=True)
    schedule = rescaled(kind, T)
    torch.testing.assert_close(schedule.alphas_bar, theirs.alphas_cumprod, rtol=1e-9, atol=1e-15)
    assert float(schedule.alphas_bar[-1]) == 0 and float(schedule.betas[-1]) == 1
    plain = NoiseSchedule(kind, T)
    assert float(schedule.alphas_bar[0]) == pytest.approx(float(plain.alphas_bar[0]), rel=1e-12)
    assert bool((schedule.alphas_bar[1:] < plain.alphas_bar[1:]).all())


def test_off_it_is_not_there() -> None:
    for kind in KINDS:
        plain = NoiseSchedule(kind, 1000, zero_terminal_snr=False)
        assert torch.equal(plain.alphas_bar, NoiseSchedule(kind, 1000).alphas_bar)
        assert float(plain.alphas_bar[-1]) > 0


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_ddim_and_ddpm_are_diffusers(kind: str, prediction: str, clip: float | None) -> None:
    common = {
        "beta_schedule": kind,
        "prediction_type": PREDICTIONS[prediction],
        "rescale_betas_zero_snr": True,
        "clip_sample": clip is not None,
        "clip_sample_range": clip or 1.0,
    }
    schedule = rescaled(kind)
    denoise = Denoiser(network, schedule, prediction)
    for steps in (20, 50):  # those with which its own loop goes to the next level
        levels = timesteps(1000, steps)
        implicit = DDIMScheduler(1000, timestep_spacing="trailing", **common)
        implicit.set_timesteps(steps)
        expected = [start()]
        for t in levels:
            output = their_output(expected[-1], t)
            step = implicit.step(output, t, expected[-1], use_clipped_model_output=True)
            expected.append(step.prev_sample)
        check(ours(ddim, denoise, start(), schedule, levels, clip=clip), expected)
    for steps, spacing in STEPS:
        levels = timesteps(1000, steps, spacing)
        ancestral = DDPMScheduler(1000, **common)
        ancestral.set_timesteps(timesteps=levels)
        generator, expected = torch.Generator().manual_seed(2), [start()]
        for t in levels:
            output = their_output(expected[-1], t)
            step = ancestral.step(output, t, expected[-1], generator=generator)
            expected.append(step.prev_sample)
        found = ours(ddpm, denoise, start(), schedule, levels, noise=noise(), clip=clip)
        check(found, expected)


def with_their_last(kind: str) -> NoiseSchedule:
    """The table that diffusers' DPM-Solver and Euler have."""
    schedule = rescaled(kind)
    schedule.alphas_bar[-1] = 2**-24
    return schedule


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_dpmpp_2m_and_euler_are_diffusers_with_its_last_level(kind: str, prediction: str) -> None:
    common = {
        "beta_schedule": kind,
        "prediction_type": PREDICTIONS[prediction],
        "rescale_betas_zero_snr": True,
    }
    schedule = with_their_last(kind)
    denoise = Denoiser(network, schedule, prediction)
    for steps, spacing in STEPS:
        levels = timesteps(1000, steps, spacing)
        solver = DPMSolverMultistepScheduler(1000, **common)
        solver.set_timesteps(timesteps=levels)
        expected = [start()]
        for t in levels:
            output = their_output(expected[-1], t)
            expected.append(solver.step(output, t, expected[-1]).prev_sample)
        check(ours(dpmpp_2m, denoise, start(), schedule, levels), expected)

        scheduler = EulerDiscreteScheduler(1000, **common)
        expected = trajectories.in_sigmas(scheduler, levels, start())
        check(ours(euler, denoise, start(), schedule, levels), expected)


SAMPLERS = {
    "ddim": ddim,
    "ddpm": lambda *arguments, **options: ddpm(*arguments, noise=noise(), **options),
    "dpmpp_2m": dpmpp_2m,
    "euler": euler,
    "heun": heun,
    "heun without a bound": lambda *a, **o: heun(*a, sigma_max=math.inf, **o),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_denoiser_that_knows_the_image_ends_in_it(name: str) -> None:
    x0 = torch.rand(start().shape, generator=torch.Generator().manual_seed(3)).double() * 2 - 1
    for kind in KINDS:
        schedule = rescaled(kind)

        def says(x: Tensor, t: Tensor, schedule: NoiseSchedule = schedule) -> Tensor:
            alpha_bar = schedule.alphas_bar[t].reshape(-1, 1, 1, 1)
            epsilon = (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
            return schedule.velocity(x0, epsilon, t)

        for levels in (timesteps(1000, 7), timesteps(1000, 30, "linspace"), [999]):
            end = SAMPLERS[name](Denoiser(says, schedule, "v"), start(), schedule, levels)
            torch.testing.assert_close(end, x0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "bound" not in name])
def test_it_is_the_limit_of_ever_less_signal(name: str) -> None:
    """But for DPM-Solver's second step, which extrapolates by an ever longer first one."""
    schedule, levels = rescaled("scaled_linear"), timesteps(1000, 20)
    end = SAMPLERS[name](Denoiser(network, schedule, "v"), start(), schedule, levels)
    gaps = []
    for left in (1e-10, 1e-14, 1e-18):
        nearly = dataclasses.replace(schedule)
        nearly.alphas_bar[-1] = left
        other = SAMPLERS[name](Denoiser(network, nearly, "v"), start(), nearly, levels)
        gaps.append(float((end - other).abs().max()))
    if name == "dpmpp_2m":  # as 1 / log(left)
        assert gaps[0] > gaps[1] > gaps[2] > 0
    else:
        assert gaps[0] < 1e-3 and gaps[2] < 1e-7


def test_the_last_level_is_the_noise_and_counts_in_the_loss() -> None:
    schedule, t = rescaled("linear"), torch.tensor([999, 500])
    x0, drawn = start(), noise()()
    assert torch.equal(schedule.add_noise(x0, drawn, t)[0], drawn[0])
    assert torch.equal(schedule.velocity(x0, drawn, t)[0], -x0[0])
    estimate = Denoiser(lambda x, t: -x0, schedule, "v")(drawn, 999)
    assert torch.equal(estimate.x0, x0) and torch.equal(estimate.epsilon, drawn)
    for prediction in PREDICTIONS:
        arguments = (network, schedule, x0, drawn, t, prediction)
        assert bool((diffusion_loss(*arguments, min_snr_gamma=5.0, snr_plus_one=True) > 0).all())
        # min(SNR, gamma) is 0 there, which is why params.yaml refuses it
        assert float(min_snr_weights(schedule, prediction, 5.0)[-1]) == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Denoiser(network, rescaled("linear"), "epsilon"),
            "prediction: epsilon says nothing of the image at the last level",
        ),
        (
            lambda: min_snr_weights(rescaled("linear"), "epsilon", 5.0),
            "prediction: epsilon says nothing of the image at the last level",
        ),
        (lambda: rescaled("linear", 1), "timesteps: 1 is the last level and nothing else; use 2"),
        (
            lambda: NoiseSchedule("linear", 9000, 0.1, 0.9, zero_terminal_snr=True),
            "timesteps: 9000 of these betas leave nothing",
        ),
    ],
)
def test_refusals(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        make()
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
