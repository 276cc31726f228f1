"""Euler's and Heun's steps: number for number diffusers', and right where it has none."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler
from diffusers.schedulers import scheduling_euler_discrete, scheduling_heun_discrete
from torch import Tensor

import trajectories
from lockstep.diffusion import Denoiser, NoiseSchedule, ddim, euler, heun, timesteps
from lockstep.diffusion.samplers import SIGMA_MAX
from trajectories import (
    CLOSE,
    KINDS,
    PREDICTIONS,
    WAYS,
    check,
    in_sigmas,
    network,
    ours,
    start,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.in_double(monkeypatch, scheduling_euler_discrete, scheduling_heun_discrete)


def clipping(denoise: Denoiser, bound: float) -> Denoiser:
    """Of x0, as diffusers' Euler has no clip."""
    return Denoiser(
        lambda x, t: denoise(x, int(t[0])).x0.clamp(-bound, bound), denoise.schedule, "x0"
    )


FEW = [(1000, steps, "trailing") for steps in (1, 2, 3)]


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_euler_is_diffusers(kind: str, prediction: str) -> None:
    for (T, steps, spacing), final in itertools.product([*WAYS, *FEW], ("one", "first")):
        schedule, levels = NoiseSchedule(kind, T), timesteps(T, steps, spacing)
        scheduler = EulerDiscreteScheduler(
            T,
            beta_schedule=kind,
            prediction_type=PREDICTIONS[prediction],
            final_sigmas_type="zero" if final == "one" else "sigma_min",
        )
        expected = in_sigmas(scheduler, levels, start())
        if final == "first":
            expected[-1] = expected[-1] * schedule.alphas_bar[0].sqrt()
        denoise = Denoiser(network, schedule, prediction)
        check(ours(euler, denoise, start(), schedule, levels, final_alpha_bar=final), expected)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_euler_is_ddim_without_noise(kind: str, clip: float | None) -> None:
    for T, steps, spacing in [*WAYS, *FEW]:
        schedule, levels = NoiseSchedule(kind, T), timesteps(T, steps, spacing)
        arguments = (Denoiser(network, schedule, "v"), start(), schedule, levels)
        found = ours(euler, *arguments, clip=clip)
        check(found, ours(ddim, *arguments, clip=clip))


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_heun_is_diffusers(kind: str, prediction: str, clip: float | None) -> None:
    # A first step from the cosine's sigma of 2e4 multiplies its rounding by up to 1e4.
    close = {"rtol": 1e-7, "atol": 1e-7} if kind == "squaredcos_cap_v2" else CLOSE
    for T, steps, spacing in [*WAYS, *FEW]:
        schedule, levels = NoiseSchedule(kind, T), timesteps(T, steps, spacing)
        scheduler = HeunDiscreteScheduler(
            T,
            beta_start=1e-4,
            beta_end=0.02,
            beta_schedule=kind,
            prediction_type=PREDICTIONS[prediction],
            clip_sample=clip is not None,
            clip_sample_range=clip or 1.0,
        )
        denoise = Denoiser(network, schedule, prediction)
        arguments = (denoise, start(), schedule, levels)
        found = ours(heun, *arguments, sigma_max=math.inf, clip=clip)
        check(found, in_sigmas(scheduler, levels, start()), close)


def test_in_float32_both_are_diffusers_as_it_is() -> None:
    x = start(torch.float32)
    common = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
    schedule = NoiseSchedule("scaled_linear", 1000)
    raw = Denoiser(network, schedule, "v")
    for (steps, spacing), clip in itertools.product(
        [(20, "trailing"), (33, "linspace"), (7, "trailing")], (None, 0.5)
    ):
        levels = timesteps(1000, steps, spacing)
        scheduler = HeunDiscreteScheduler(
            1000, 1e-4, 0.02, clip_sample=clip is not None, clip_sample_range=clip or 1.0, **common
        )
        close = {"rtol": 1e-5, "atol": 1e-5}
        found = ours(heun, raw, x, schedule, levels, clip=clip)
        check(found, in_sigmas(scheduler, levels, x), close)
        if clip is None:
            expected = in_sigmas(EulerDiscreteScheduler(1000, **common), levels, x)
            found = ours(euler, raw, x, schedule, levels)
            assert found[-1].dtype == torch.float32
            check(found, expected, close)


def evaluations(sampler: Callable, schedule: NoiseSchedule, levels: list[int]) -> list[int]:
    """The level of each call of the network."""
    seen: list[int] = []

    def counted(x: Tensor, t: Tensor) -> Tensor:
        seen.append(int(t[0]))
        return network(x, t)

    sampler(Denoiser(counted, schedule, "v"), start(), schedule, levels)
    return seen


def test_heun_evaluates_twice_but_for_the_last_step_and_those_from_above_sigma_max() -> None:
    scaled, levels = NoiseSchedule("scaled_linear", 1000), [999, 600, 300]
    assert evaluations(heun, scaled, levels) == [999, 600, 600, 300, 300]
    assert evaluations(euler, scaled, levels) == levels
    cosine = NoiseSchedule("squaredcos_cap_v2", 1000)
    assert evaluations(heun, cosine, levels) == [999, 600, 300, 300]
    above = float((1 / cosine.alphas_bar[991] - 1).sqrt())  # 1,000 pi / 2 / 9
    below = float((1 / cosine.alphas_bar[990] - 1).sqrt())
    assert below < SIGMA_MAX + 2 and above > SIGMA_MAX


def test_heun_steps_from_pure_noise_as_euler_does() -> None:
    """Else a step from sigma 20,000 to 13 multiplies a difference of two estimates by 800."""
    schedule, levels = NoiseSchedule("squaredcos_cap_v2", 1000), timesteps(1000, 20)
    arguments = (Denoiser(network, schedule, "x0"), start(), schedule, levels)
    found, plain = ours(heun, *arguments), ours(euler, *arguments)
    assert torch.equal(found[1], plain[1]) and not torch.allclose(found[2], plain[2])
    wild = ours(heun, *arguments, sigma_max=math.inf)
    assert float(found[1].abs().max()) < 4 < 15 < float(wild[1].abs().max())


def test_heun_is_of_second_order_and_euler_of_first() -> None:
    """Of Gaussian data the probability flow keeps x / sqrt(variance at t), as known exactly."""
    schedule, deviation = NoiseSchedule("linear", 8001, 1e-4 / 8, 0.02 / 8), 0.5

    def says(x: Tensor, t: Tensor) -> Tensor:
        alpha_bar = schedule.alphas_bar[t].reshape(-1, 1, 1, 1)
        return alpha_bar.sqrt() * deviation**2 / (alpha_bar * deviation**2 + 1 - alpha_bar) * x

    denoise = Denoiser(says, schedule, "x0")
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    half_log_snr = 0.5 * schedule.snr(torch.arange(6001)).log()

    def error(sampler: Callable, steps: int) -> float:
        ends = (float(half_log_snr[-1]), float(half_log_snr[0]))
        wanted = torch.linspace(*ends, steps, dtype=torch.float64)
        nearest = (half_log_snr[None] - wanted[:, None]).abs().argmin(1).tolist()
        levels = sorted(set(nearest), reverse=True)
        at_level_0 = ours(sampler, denoise, one, schedule, levels)[-2]
        first, last = (float(ab * deviation**2 + 1 - ab) for ab in schedule.alphas_bar[[6000, 0]])
        return abs(float(at_level_0) - math.sqrt(last / first))

    assert error(euler, 100) / error(euler, 200) == pytest.approx(2, rel=0.15)
    assert error(heun, 50) / error(heun, 100) == pytest.approx(4, rel=0.25)
    assert error(heun, 100) < error(euler, 200) / 10


def test_a_bound_that_cannot_be() -> None:
    schedule = NoiseSchedule("linear", 100)
    arguments = (Denoiser(network, schedule, "v"), start(), schedule, [50])
    with pytest.raises(ValueError, match="sigma_max: 0 is not positive; use 80, or math"):
        heun(*arguments, sigma_max=0)
    with pytest.raises(ValueError, match=r"clip: -1.0 is not positive; use 1.0 for images"):
        euler(*arguments, clip=-1.0)


def test_clipped_euler_is_euler_of_a_network_that_clips() -> None:
    schedule, levels = NoiseSchedule("linear", 1000), timesteps(1000, 17)
    raw = Denoiser(network, schedule, "epsilon")
    found = ours(euler, raw, start(), schedule, levels, clip=1.0)
    check(found, ours(euler, clipping(raw, 1.0), start(), schedule, levels), CLOSE)
    assert not torch.allclose(found[-1], euler(raw, start(), schedule, levels))
