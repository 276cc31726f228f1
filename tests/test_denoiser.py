"""Denoisers: what is read from a network's output, and classifier-free guidance."""

import math

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from lockstep.diffusion import Denoiser, Estimate, Guidance, NoiseSchedule

KINDS = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTIONS = ("epsilon", "v", "x0")


def images(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    x0, noise = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return x0, noise


def truth(schedule: NoiseSchedule, prediction: str, t: int, dtype: torch.dtype) -> Estimate:
    """The estimate of a network that knows the answer, at level t."""
    x0, noise = images(dtype)
    level = torch.tensor(t)
    says = {"epsilon": noise, "v": schedule.velocity(x0, noise, level), "x0": x0}[prediction]
    denoiser = Denoiser(lambda x, t: says, schedule, prediction)
    return denoiser(schedule.add_noise(x0, noise, level), t)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_both_halves_of_the_truth(prediction: str, kind: str) -> None:
    schedule = NoiseSchedule(kind, 1000)
    x0, noise = images(torch.float64)
    for t in (0, 1, 500, 998, 999):
        estimate = truth(schedule, prediction, t, torch.float64)
        # float64 rounding (2e-16) over the smallest divisor there is, 5e-5
        torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=1e-11)
        torch.testing.assert_close(estimate.epsilon, noise, rtol=0, atol=1e-11)


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_the_last_cosine_level_costs_no_digits_in_float32(prediction: str) -> None:
    schedule = NoiseSchedule("squaredcos_cap_v2", 1000)
    x0, noise = images(torch.float32)
    estimate = truth(schedule, prediction, 999, torch.float32)
    assert estimate.x0.dtype == torch.float32
    # A detour through epsilon would divide a rounding of 1e-7 by 5e-5.
    torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=1e-6)
    torch.testing.assert_close(estimate.epsilon, noise, rtol=0, atol=1e-6)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_the_first_level_costs_no_digits_in_float32(prediction: str) -> None:
    schedule = NoiseSchedule("squaredcos_cap_v2", 1000)
    x0, noise = images(torch.float32)
    estimate = truth(schedule, prediction, 0, torch.float32)
    torch.testing.assert_close(estimate.x0, x0, rtol=0, atol=1e-6)
    torch.testing.assert_close(estimate.epsilon, noise, rtol=0, atol=1e-6)


def test_the_network_sees_one_int64_level_per_image_and_may_answer_in_bfloat16() -> None:
    seen: list[Tensor] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return x.bfloat16()

    x = images(torch.float32)[0]
    estimate = Denoiser(network, NoiseSchedule("linear", 100), "v")(x, 42)
    assert seen[0].dtype == torch.int64 and seen[0].tolist() == [42, 42]
    assert estimate.x0.dtype == estimate.epsilon.dtype == torch.float32


class Counted:
    """A denoiser of a constant noise that counts its calls."""

    def __init__(self, value: float) -> None:
        self.value, self.calls, self.schedule = value, 0, NoiseSchedule("linear", 1000)

    def __call__(self, x: Tensor, t: int) -> Estimate:
        self.calls += 1
        alpha_bar = float(self.schedule.alphas_bar[t])
        epsilon = torch.full_like(x, self.value)
        x0 = (x - math.sqrt(1 - alpha_bar) * epsilon) / math.sqrt(alpha_bar)
        return Estimate(x0, epsilon)


X = torch.ones(2, 1, 2, 2, dtype=torch.float64)


def test_guidance_scales_the_difference() -> None:
    conditional, unconditional = Counted(2.0), Counted(0.5)
    for scale, expected in [(0, 0.5), (1, 2.0), (3, 5.0), (-1, -1.0)]:
        estimate = Guidance(conditional, unconditional, scale)(X, 600)
        alone = Counted(expected)(X, 600)
        torch.testing.assert_close(estimate.epsilon, alone.epsilon, rtol=1e-12, atol=0)
        # x0 too is that of the guided noise: the two halves still make up x_t
        torch.testing.assert_close(estimate.x0, alone.x0, rtol=1e-12, atol=0)


def test_scale_one_is_the_conditional_alone_and_zero_the_unconditional() -> None:
    conditional, unconditional = Counted(2.0), Counted(0.5)
    one = Guidance(conditional, unconditional, 1.0)(X, 600)
    assert unconditional.calls == 0
    assert all(map(torch.equal, one, Counted(2.0)(X, 600)))
    zero = Guidance(conditional, unconditional, 0.0)(X, 600)
    assert all(map(torch.equal, zero, Counted(0.5)(X, 600)))


@pytest.mark.parametrize(
    ("t", "guided"),
    [(0, False), (199, False), (200, True), (500, True), (800, True), (801, False), (999, False)],
)
def test_the_interval_is_in_t_over_T_ends_included(t: int, guided: bool) -> None:
    conditional, unconditional = Counted(2.0), Counted(0.5)
    estimate = Guidance(conditional, unconditional, 3.0, (0.2, 0.8))(X, t)
    assert float(estimate.epsilon.mean()) == (5.0 if guided else 2.0)
    assert (conditional.calls, unconditional.calls) == (1, int(guided))


def test_guidance_wraps_guidance() -> None:
    inner = Guidance(Counted(2.0), Counted(0.5), 3.0, (0.0, 0.5))
    outer = Guidance(inner, Counted(0.0), 2.0, (0.0, 0.5))
    assert float(outer(X, 100).epsilon.mean()) == 10.0
    assert float(outer(X, 900).epsilon.mean()) == 2.0


def varied(seed: int) -> Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).double()


def test_rescaled_guidance_is_diffusers_for_a_network_of_x0() -> None:
    schedule, x = NoiseSchedule("linear", 1000), varied(0)
    says = {seed: seed * varied(seed) + 0.3 for seed in (1, 2)}
    one, other = (Denoiser(lambda x, t, seed=seed: says[seed], schedule, "x0") for seed in (1, 2))
    for t, rescale in [(0, 0.7), (600, 0.7), (999, 1.0), (600, 0.0)]:
        estimate = Guidance(one, other, 4.0, rescale=rescale)(x, t)
        guided = says[2] + 4.0 * (says[1] - says[2])
        expected = rescale_noise_cfg(guided, says[1], rescale)
        torch.testing.assert_close(estimate.x0, expected, rtol=1e-12, atol=1e-12)
        # The two halves still make up x_t.
        again = Denoiser(lambda x, t, x0=expected: x0, schedule, "x0")(x, t)
        torch.testing.assert_close(estimate.epsilon, again.epsilon, rtol=1e-9, atol=1e-9)


def test_fully_rescaled_guidance_has_the_contrast_of_the_conditional() -> None:
    schedule, x = NoiseSchedule("linear", 1000), varied(0)
    one, other = (
        Denoiser(lambda x, t, seed=seed: varied(seed) * seed, schedule, "v") for seed in (1, 2)
    )
    deviations = [
        Guidance(one, other, scale, rescale=rescale)(x, 700).x0.std((1, 2, 3))
        for scale, rescale in [(1.0, 0.0), (5.0, 1.0), (5.0, 0.5), (5.0, 0.0)]
    ]
    torch.testing.assert_close(deviations[0], deviations[1], rtol=1e-12, atol=0)
    assert bool((deviations[1] < deviations[2]).all() and (deviations[2] < deviations[3]).all())


def test_rescaling_an_estimate_of_nothing_leaves_numbers() -> None:
    nothing = Denoiser(lambda x, t: torch.zeros_like(x), NoiseSchedule("linear", 1000), "x0")
    estimate = Guidance(nothing, nothing, 3.0, rescale=1.0)(X, 500)
    assert bool(estimate.x0.isfinite().all() and estimate.epsilon.isfinite().all())


def test_guidance_refuses_to_rescale_by_more_than_all() -> None:
    with pytest.raises(ValueError, match=r"rescale: 1.5 is out of range; use 0 \(none\) to 1"):
        Guidance(Counted(1.0), Counted(1.0), 2.0, rescale=1.5)


@pytest.mark.parametrize(
    ("scale", "interval", "sentence"),
    [
        (math.nan, None, "scale: nan is not finite; use 1 for no guidance"),
        (2.0, (0.8, 0.2), "interval: (0.8, 0.2) is not a range of t / T; use 0 <= low < high <= 1"),
        (2.0, (0.0, 1.5), "interval: (0.0, 1.5) is not a range"),
    ],
)
def test_guidance_refusals(scale: float, interval: tuple, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        Guidance(Counted(1.0), Counted(1.0), scale, interval)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_refuses_an_unknown_prediction() -> None:
    with pytest.raises(ValueError, match="prediction: 'sample' is not known; use one of epsilon, "):
        Denoiser(lambda x, t: x, NoiseSchedule("linear", 10), "sample")
