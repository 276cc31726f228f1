"""The samplers: number for number diffusers' (run in float64), and right where that is not."""

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers import (
    scheduling_ddim,
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
)
from torch import Tensor

import trajectories
from lockstep.diffusion import (
    Denoiser,
    ImageNoise,
    NoiseSchedule,
    StepInfo,
    ddim,
    ddpm,
    diffusion_loss,
    dpmpp_2m,
    timesteps,
)
from trajectories import (
    CLOSE,
    KINDS,
    PREDICTIONS,
    SHAPE,
    TRAJECTORY,
    WAYS,
    check,
    network,
    noise,
    ours,
    start,
    their_output,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.in_double(
        monkeypatch, scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep
    )


# --- DDIM ---------------------------------------------------------------------------------------


class Stride:
    """Stands for a step count n such that T // n is the stride wanted."""

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __rfloordiv__(self, T: int) -> int:
        return self.stride


def their_ddim(scheduler: DDIMScheduler, levels: list[int], x: Tensor, **options) -> TRAJECTORY:
    """diffusers' formula from each level to the next of the list.

    On its own it goes to t - T // n, which is not the next level where n does not divide T (but
    for `leading`) or with `linspace`; here it is told the stride.
    """
    fresh, xs = noise(), [x]
    for t, following in zip(levels, [*levels[1:], -1], strict=True):
        scheduler.num_inference_steps = Stride(t - following)
        drawn = fresh() if options.get("eta", 0) > 0 else None
        output = their_output(xs[-1], t)
        step = scheduler.step(output, t, xs[-1], variance_noise=drawn, **options)
        xs.append(step.prev_sample)
    return xs


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize(("eta", "final"), [(0.0, "one"), (0.5, "first"), (1.0, "one")])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_ddim_is_diffusers(kind: str, prediction: str, eta: float, final: str) -> None:
    ways = [*WAYS, (1000, 300, "trailing")] if (prediction, eta) == ("v", 0.5) else WAYS
    for (T, steps, spacing), clip in itertools.product(ways, (None, 0.5)):
        schedule = NoiseSchedule(kind, T)
        scheduler = DDIMScheduler(
            T,
            beta_schedule=kind,
            prediction_type=PREDICTIONS[prediction],
            clip_sample=clip is not None,
            clip_sample_range=clip or 1.0,
            set_alpha_to_one=final == "one",
        )
        levels = timesteps(T, steps, spacing)
        denoise = Denoiser(network, schedule, prediction)
        for rederive in (True, False) if clip else (True,):
            found = ours(
                *(ddim, denoise, start(), schedule, levels),
                eta=eta,
                clip=clip,
                rederive_epsilon=rederive,
                final_alpha_bar=final,
                noise=noise() if eta > 0 else None,
            )
            expected = their_ddim(
                scheduler, levels, start(), eta=eta, use_clipped_model_output=rederive
            )
            check(found, expected)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize(
    ("T", "steps", "spacing", "agrees"),
    [
        (1000, 50, "trailing", True),
        (1000, 300, "leading", True),
        (1000, 33, "trailing", False),
        (1000, 10, "linspace", False),
    ],
)
def test_diffusers_own_loop_agrees_where_its_pairing_is_the_list(
    T: int, steps: int, spacing: str, agrees: bool
) -> None:
    """The reason their_ddim is told the stride, and that it is needed nowhere else."""
    schedule = NoiseSchedule("linear", T)
    scheduler = DDIMScheduler(
        T, timestep_spacing=spacing, prediction_type="v_prediction", clip_sample=False
    )
    scheduler.set_timesteps(steps)
    x = start()
    for t in scheduler.timesteps.tolist():
        x = scheduler.step(their_output(x, t), t, x).prev_sample
    found = ddim(Denoiser(network, schedule, "v"), start(), schedule, timesteps(T, steps, spacing))
    assert torch.allclose(found, x, **CLOSE) == agrees


# --- DDPM ---------------------------------------------------------------------------------------


def their_ddpm(
    scheduler: DDPMScheduler, mean_only: DDPMScheduler, levels: list[int], x: Tensor
) -> TRAJECTORY:
    """diffusers' steps; the last one's without noise.

    diffusers adds noise to the last step too unless its level is 0, and `fixed_large` then leaves
    visible noise on the image. Ho et al.'s algorithm 2 does not: the step that ends at x0 has
    z = 0. `mean_only` is of variance fixed_small, which vanishes there (1e-20).
    """
    generator, xs = torch.Generator().manual_seed(2), [x]
    for each in (scheduler, mean_only):
        each.set_timesteps(timesteps=levels)
    for t in levels:
        its = mean_only if t == levels[-1] else scheduler
        step = its.step(their_output(xs[-1], t), t, xs[-1], generator=generator)
        xs.append(step.prev_sample)
    return xs


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_ddpm_is_diffusers(kind: str, prediction: str, variance: str) -> None:
    ways = [*WAYS, (100, 100, "trailing")] if prediction == "v" else WAYS
    for (T, steps, spacing), clip in itertools.product(ways, (None, 1.0)):
        schedule, levels = NoiseSchedule(kind, T), timesteps(T, steps, spacing)
        scheduler, mean_only = (
            DDPMScheduler(
                T,
                beta_schedule=kind,
                prediction_type=PREDICTIONS[prediction],
                clip_sample=clip is not None,
                variance_type=its_variance,
            )
            for its_variance in (variance, "fixed_small")
        )
        found = ours(
            *(ddpm, Denoiser(network, schedule, prediction), start(), schedule, levels),
            noise=noise(),
            variance=variance,
            clip=clip,
        )
        check(found, their_ddpm(scheduler, mean_only, levels, start()))


# --- DPM-Solver++(2M) ---------------------------------------------------------------------------


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("final", ["one", "first"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_dpmpp_2m_is_diffusers(kind: str, prediction: str, final: str) -> None:
    few = [(1000, n, "trailing") for n in (1, 2, 3, 14, 15)]
    for T, steps, spacing in [*WAYS, *few]:
        schedule, levels = NoiseSchedule(kind, T), timesteps(T, steps, spacing)
        scheduler = DPMSolverMultistepScheduler(
            T,
            beta_schedule=kind,
            prediction_type=PREDICTIONS[prediction],
            final_sigmas_type="zero" if final == "one" else "sigma_min",
        )
        scheduler.set_timesteps(timesteps=levels)
        expected = [start()]
        for t in levels:
            output = their_output(expected[-1], t)
            expected.append(scheduler.step(output, t, expected[-1]).prev_sample)
        denoise = Denoiser(network, schedule, prediction)
        check(ours(dpmpp_2m, denoise, start(), schedule, levels, final_alpha_bar=final), expected)


@pytest.mark.usefixtures("in_double")
def test_dpmpp_2m_clips_its_estimates() -> None:
    """diffusers has no clip here: a network of x0 that clips for itself is the same thing."""
    schedule, levels = NoiseSchedule("linear", 1000), timesteps(1000, 17)
    raw = Denoiser(network, schedule, "epsilon")
    clipping = Denoiser(lambda x, t: raw(x, int(t[0])).x0.clamp(-1, 1), schedule, "x0")
    found = ours(dpmpp_2m, raw, start(), schedule, levels, clip=1.0)
    check(found, ours(dpmpp_2m, clipping, start(), schedule, levels))
    assert not torch.allclose(found[-1], dpmpp_2m(raw, start(), schedule, levels))


# --- in float32, as it is used ------------------------------------------------------------------


def test_in_float32_all_three_agree_with_diffusers_as_it_is() -> None:
    schedule, levels = NoiseSchedule("linear", 1000), timesteps(1000, 20)
    denoise = Denoiser(network, schedule, "v")
    x = start(torch.float32)
    close = {"rtol": 2e-4, "atol": 2e-4}
    common = {"prediction_type": "v_prediction"}
    scheduler = DDIMScheduler(1000, clip_sample=False, **common)
    check(ours(ddim, denoise, x, schedule, levels), their_ddim(scheduler, levels, x), close)

    small = DDPMScheduler(1000, **common)
    expected = [x]
    small.set_timesteps(timesteps=levels)
    generator = torch.Generator().manual_seed(2)
    for t in levels:
        output = their_output(expected[-1], t)
        expected.append(small.step(output, t, expected[-1], generator=generator).prev_sample)
    fresh = noise(torch.float32)
    found = ours(ddpm, denoise, x, schedule, levels, noise=fresh, clip=1.0)
    assert found[-1].dtype == torch.float32
    check(found, expected, close)

    solver = DPMSolverMultistepScheduler(1000, **common)
    solver.set_timesteps(timesteps=levels)
    expected = [x]
    for t in levels:
        expected.append(solver.step(their_output(expected[-1], t), t, expected[-1]).prev_sample)
    check(ours(dpmpp_2m, denoise, x, schedule, levels), expected, close)


# --- what must come out, whoever computes it ----------------------------------------------------


def knows(x0: Tensor, schedule: NoiseSchedule, prediction: str) -> Denoiser:
    """The denoiser of a data set of one image."""

    def says(x: Tensor, t: Tensor) -> Tensor:
        alpha_bar = schedule.alphas_bar[t].reshape(-1, 1, 1, 1)
        epsilon = (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
        return {"x0": x0.expand_as(x), "epsilon": epsilon, "v": schedule.velocity(x0, epsilon, t)}[
            prediction
        ]

    return Denoiser(says, schedule, prediction)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_denoiser_that_knows_the_image_ends_in_it(kind: str, prediction: str) -> None:
    schedule = NoiseSchedule(kind, 1000)
    x0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1
    denoise = knows(x0, schedule, prediction)
    for levels in (timesteps(1000, 7), timesteps(1000, 30, "linspace"), [900, 899, 3]):
        for end in (
            ddim(denoise, start(), schedule, levels),
            ddim(denoise, start(), schedule, levels, eta=1.0, noise=noise(), clip=1.0),
            ddpm(denoise, start(), schedule, levels, noise=noise(), variance="fixed_large"),
            dpmpp_2m(denoise, start(), schedule, levels),
        ):
            torch.testing.assert_close(end, x0, rtol=0, atol=1e-9)


def test_the_first_final_alpha_bar_leaves_the_noise_of_level_0() -> None:
    schedule, levels = NoiseSchedule("linear", 1000), timesteps(1000, 20)
    x0 = torch.zeros(SHAPE, dtype=torch.float64)
    denoise = knows(x0, schedule, "x0")
    # with x0 = 0 every step only shrinks the noise, and in the same proportion
    expected = start() * math.sqrt((1 - 0.9999) / (1 - float(schedule.alphas_bar[999])))
    for sampler in (ddim, dpmpp_2m):
        end = sampler(denoise, start(), schedule, levels, final_alpha_bar="first")
        torch.testing.assert_close(end, expected, rtol=1e-9, atol=0)


def gaussian(schedule: NoiseSchedule, deviation: float) -> Denoiser:
    """The best denoiser there is of x0 ~ N(0, deviation²): the posterior mean, linear in x."""

    def says(x: Tensor, t: Tensor) -> Tensor:
        alpha_bar = schedule.alphas_bar[t].reshape(-1, 1, 1, 1)
        variance = alpha_bar * deviation**2 + 1 - alpha_bar
        return alpha_bar.sqrt() * deviation**2 / variance * x

    return Denoiser(says, schedule, "x0")


def variance_of(sampler: Callable, schedule: NoiseSchedule, levels: list[int], **options) -> float:
    """The exact variance of what a sampler draws with a linear denoiser.

    Each source of noise, x_T and the draws of the steps, is one image of the batch and 1 in
    that image only: the images at the end are the sources' factors, and squared they add up.
    """
    sources = torch.eye(len(levels) + 1, dtype=torch.float64).reshape(-1, len(levels) + 1, 1, 1, 1)
    following: Iterator[Tensor] = iter(sources[1:])
    end = sampler(
        schedule=schedule,
        x=sources[0],
        timesteps=levels,
        noise=lambda: next(following),
        **options,
    )
    return float(end.square().sum())


def test_ddim_draws_gaussian_data_with_its_variance() -> None:
    schedule = NoiseSchedule("linear", 1000)
    for deviation, granted in ((0.1, 0.04), (0.5, 0.01), (2.0, 0.01)):
        denoise = gaussian(schedule, deviation)
        errors = []
        for steps in (10, 100, 1000):
            levels = timesteps(1000, steps)
            drawn = variance_of(ddim, schedule, levels, denoise=denoise)
            errors.append(abs(drawn / deviation**2 - 1))
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < granted


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_noise_draws_gaussian_data_with_its_variance(eta: float) -> None:
    schedule = NoiseSchedule("linear", 1000)
    drawn = variance_of(
        ddim, schedule, timesteps(1000, 1000), denoise=gaussian(schedule, 0.5), eta=eta
    )
    assert drawn == pytest.approx(0.25, rel=0.02)


def test_each_ddpm_variance_is_exact_for_the_data_it_is_the_bound_of() -> None:
    """Ho et al. 2020, section 3.2: fixed_large for x0 ~ N(0, I), fixed_small for one image."""
    schedule = NoiseSchedule("linear", 1000)
    for levels in (timesteps(1000, 7), timesteps(1000, 33, "linspace")):
        unit = gaussian(schedule, 1.0)
        drawn = variance_of(ddpm, schedule, levels, denoise=unit, variance="fixed_large")
        # variance 1 at every level, and the last step returns the mean, sqrt(ab) x
        assert drawn == pytest.approx(float(schedule.alphas_bar[levels[-1]]), rel=1e-12)
        small = variance_of(ddpm, schedule, levels, denoise=unit, variance="fixed_small")
        assert small < drawn

    # One image, 0: fixed_small keeps the variance at each level what the forward process has.
    levels = timesteps(1000, 7)
    seen: list[float] = []
    variance_of(
        ddpm,
        schedule,
        levels,
        denoise=gaussian(schedule, 0.0),
        callback=lambda step: seen.append(float(step.x.square().sum())),
    )
    expected = [1 - float(schedule.alphas_bar[t]) for t in levels]
    assert seen[1:] == pytest.approx(expected[1:], rel=1e-3)


def test_dpmpp_2m_is_of_second_order_and_ddim_of_first() -> None:
    """Halving the step divides the error by 4 and by 2. The exact end is known for Gaussian data:

    the probability flow keeps x / sqrt(variance at t), Song et al. 2021 (arXiv 2011.13456).
    """
    T, deviation = 8001, 0.5
    schedule = NoiseSchedule("linear", T, 1e-4 / 8, 0.02 / 8)
    denoise = gaussian(schedule, deviation)
    first, last = (float(ab * deviation**2 + 1 - ab) for ab in schedule.alphas_bar[[7200, 0]])
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)

    def error(sampler: Callable, steps: int) -> float:
        # down to level 0, where the last step ("first": from level 0 to level 0) goes nowhere
        levels = half_log_snr_spaced(schedule, 7200, steps)
        end = sampler(denoise, one, schedule, levels, final_alpha_bar="first")
        return abs(float(end) - math.sqrt(last / first))

    assert error(ddim, 100) / error(ddim, 200) == pytest.approx(2, rel=0.15)
    assert error(dpmpp_2m, 100) / error(dpmpp_2m, 200) == pytest.approx(4, rel=0.25)
    assert error(dpmpp_2m, 100) < error(ddim, 100) / 10


def half_log_snr_spaced(schedule: NoiseSchedule, top: int, steps: int) -> list[int]:
    lambdas = 0.5 * schedule.snr(torch.arange(top + 1)).log()
    wanted = torch.linspace(float(lambdas[top]), float(lambdas[0]), steps, dtype=torch.float64)
    nearest = (lambdas[None, :] - wanted[:, None]).abs().argmin(1).tolist()
    return sorted(set(nearest), reverse=True)


# --- clipping and epsilon -----------------------------------------------------------------------


def test_clipped_ddim_at_eta_one_is_clipped_ddpm_only_if_epsilon_is_rederived() -> None:
    schedule, levels = NoiseSchedule("squaredcos_cap_v2", 1000), timesteps(1000, 30)
    denoise = Denoiser(network, schedule, "epsilon")
    arguments = (denoise, start(), schedule, levels)
    expected = ddpm(*arguments, noise=noise(), clip=0.5)
    found = ddim(*arguments, noise=noise(), eta=1.0, clip=0.5)
    torch.testing.assert_close(found, expected, **CLOSE)
    other = ddim(*arguments, noise=noise(), eta=1.0, clip=0.5, rederive_epsilon=False)
    assert not torch.allclose(other, expected, atol=1e-2)


def test_a_step_to_its_own_level_stays_only_if_epsilon_is_rederived() -> None:
    """x_t = sqrt(ab) x0 + sqrt(1 - ab) epsilon must hold of the x0 and the epsilon stepped with."""
    schedule = NoiseSchedule("linear", 1000)
    arguments = (Denoiser(network, schedule, "v"), start(), schedule, [0])
    options = {"clip": 0.5, "final_alpha_bar": "first"}
    torch.testing.assert_close(ddim(*arguments, **options), start(), rtol=1e-12, atol=1e-12)
    moved = ddim(*arguments, **options, rederive_epsilon=False)
    assert float((moved - start()).abs().max()) > 0.1


def test_rederiving_changes_nothing_where_nothing_is_clipped() -> None:
    schedule, levels = NoiseSchedule("linear", 1000), timesteps(1000, 30)
    arguments = (Denoiser(network, schedule, "epsilon"), start(), schedule, levels)
    torch.testing.assert_close(ddim(*arguments, clip=1e6), ddim(*arguments), **CLOSE)


# --- the rest of the contract -------------------------------------------------------------------


def test_a_image_does_not_depend_on_its_batch() -> None:
    schedule, levels = NoiseSchedule("linear", 100), timesteps(100, 10)
    denoise = Denoiser(network, schedule, "v")

    def draw(indices: list[int]) -> Tensor:
        fresh = ImageNoise(5, indices, SHAPE[1:])
        return ddpm(denoise, fresh(), schedule, levels, noise=fresh, clip=1.0)

    together = draw([0, 1, 2, 3, 4])
    # close, not equal: the noise is the same bytes, but a network may round by its batch's shape
    torch.testing.assert_close(torch.cat([draw([i]) for i in range(5)]), together)
    torch.testing.assert_close(draw([3, 0]), together[[3, 0]])


def test_the_callback_sees_each_step_before_it_is_taken() -> None:
    schedule, levels = NoiseSchedule("linear", 100), timesteps(100, 5)
    denoise = Denoiser(network, schedule, "v")
    for sampler, options in [(ddpm, {"noise": noise()}), (ddim, {}), (dpmpp_2m, {})]:
        steps: list[StepInfo] = []
        sampler(denoise, start(), schedule, levels, clip=0.5, callback=steps.append, **options)
        assert [step.index for step in steps] == [0, 1, 2, 3, 4]
        assert [step.t for step in steps] == levels
        assert torch.equal(steps[0].x, start())
        for step in steps:
            assert torch.equal(step.x0, denoise(step.x, step.t).x0.clamp(-0.5, 0.5))


def test_noise_is_drawn_only_where_it_is_added() -> None:
    schedule, levels = NoiseSchedule("linear", 100), timesteps(100, 5)
    denoise = Denoiser(network, schedule, "v")
    for sampler, options, draws in [
        (ddpm, {}, 4),
        (ddim, {"eta": 0.0}, 0),
        (ddim, {"eta": 1.0}, 4),
        (ddim, {"eta": 1.0, "final_alpha_bar": "first"}, 5),
    ]:
        count, fresh = itertools.count(), noise()
        sampler(
            *(denoise, start(), schedule, levels),
            noise=lambda count=count, fresh=fresh: (next(count), fresh())[1],
            **options,
        )
        assert next(count) == draws


def test_everything_stays_on_the_device_of_x() -> None:
    """On `meta`, tensors without numbers: to mix in a tensor left on the CPU is an error."""
    schedule = NoiseSchedule("squaredcos_cap_v2", 100)
    fresh = ImageNoise(0, range(2), SHAPE[1:], device="meta")
    denoise = Denoiser(network, schedule, "v")
    for sampler, options in [(ddpm, {"noise": fresh}), (ddim, {}), (dpmpp_2m, {})]:
        end = sampler(denoise, fresh(), schedule, [50, 20, 3], clip=1.0, **options)
        assert end.device.type == "meta" and end.dtype == torch.float32
    t = torch.zeros(2, dtype=torch.int64, device="meta")
    for prediction in PREDICTIONS:
        loss = diffusion_loss(network, schedule, fresh(), fresh(), t, prediction, 5.0)
        assert loss.device.type == "meta"


def test_no_gradients_and_the_start_is_left_alone() -> None:
    schedule, x = NoiseSchedule("linear", 100), start().requires_grad_()
    for sampler in (ddim, dpmpp_2m):
        end = sampler(Denoiser(network, schedule, "v"), x, schedule, [50, 3])
        assert not end.requires_grad
    assert torch.equal(x, start())


@pytest.mark.parametrize(
    ("sampler", "levels", "options", "sentence"),
    [
        (ddim, [], {}, "timesteps: [] do not fit the schedule; use levels in [0, 100)"),
        (ddim, [100, 5], {}, "timesteps: [100, 5] do not fit the schedule; use levels in [0, 100)"),
        (dpmpp_2m, [5, -1], {}, "timesteps: [5, -1] do not fit the schedule"),
        (dpmpp_2m, [5, 5], {}, "timesteps: [5, 5] do not strictly decrease; sort them, each once"),
        (ddpm, [5, 9], {"noise": noise()}, "timesteps: [5, 9] do not strictly decrease"),
        (ddim, [5], {"eta": 1.5}, "eta: 1.5 is out of range; use 0 (DDIM) to 1 (DDPM)"),
        (ddim, [5], {"eta": 0.5}, "noise: None, but eta 0.5 adds noise; pass a noise function"),
        (ddim, [5], {"clip": 0.0}, "clip: 0.0 is not positive; use 1.0 for images in [-1, 1]"),
        (ddim, [5], {"final_alpha_bar": "zero"}, "final_alpha_bar: 'zero' is not known; use one"),
        (
            *(ddpm, [5], {"noise": noise(), "variance": "learned"}),
            "variance: 'learned' is not known; use one of fixed_small, fixed_large",
        ),
    ],
)
def test_refusals(sampler: Callable, levels: list[int], options: dict, sentence: str) -> None:
    schedule = NoiseSchedule("linear", 100)
    with pytest.raises(ValueError) as refused:
        sampler(Denoiser(network, schedule, "v"), start(), schedule, levels, **options)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
