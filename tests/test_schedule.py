"""The noise schedules: their tables against diffusers and the papers, and their properties."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.diffusion import NoiseSchedule

KINDS = ("linear", "scaled_linear", "squaredcos_cap_v2")
schedules = st.builds(
    lambda kind, T, start, ratio: NoiseSchedule(kind, T, start, min(start * ratio, 0.5)),
    kind=st.sampled_from(KINDS),
    T=st.integers(1, 1200),
    start=st.floats(1e-6, 1e-2),
    ratio=st.floats(1, 10),
)


@pytest.mark.parametrize("T", [1000, 500, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_diffusers_to_its_float32(kind: str, T: int) -> None:
    theirs = DDPMScheduler(T, beta_schedule=kind)
    ours = NoiseSchedule(kind, T)
    assert ours.betas.dtype == ours.alphas_bar.dtype == torch.float64
    # Measured, relative: betas 3e-7, alphas_bar 8e-7, but 1.3e-5 at the cosine's last level, where
    # their float32 rounds 1 - beta = 0.001.
    torch.testing.assert_close(ours.betas, theirs.betas.double(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ours.alphas_bar, theirs.alphas_cumprod.double(), rtol=3e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_add_noise_and_velocity_are_diffusers(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 8, 3, 4, 4, generator=generator)
    t = torch.tensor([0, 1, 10, 499, 500, 900, 998, 999])
    theirs, ours = DDPMScheduler(1000, beta_schedule=kind), NoiseSchedule(kind, 1000)
    close = {"rtol": 1e-5, "atol": 5e-6}
    torch.testing.assert_close(
        ours.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), **close
    )
    torch.testing.assert_close(
        ours.velocity(x0, noise, t), theirs.get_velocity(x0, noise, t), **close
    )


def test_linear_by_hand() -> None:
    schedule = NoiseSchedule("linear", 3, 0.1, 0.3)
    torch.testing.assert_close(schedule.betas, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    assert schedule.alphas_bar.tolist() == pytest.approx([0.9, 0.72, 0.504], abs=1e-15)


def test_scaled_linear_by_hand() -> None:
    schedule = NoiseSchedule("scaled_linear", 3, 0.01, 0.09)
    assert schedule.betas.tolist() == pytest.approx([0.01, 0.04, 0.09], abs=1e-15)


def test_cosine_follows_its_curve_up_to_the_cap() -> None:
    schedule = NoiseSchedule("squaredcos_cap_v2", 1000)

    def curve(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 500, 998):
        expected = curve((t + 1) / 1000) / curve(0)
        assert float(schedule.alphas_bar[t]) == pytest.approx(expected, rel=1e-10)
    assert float(schedule.betas[-1]) == 0.999
    assert float(schedule.alphas_bar[-1].sqrt()) == pytest.approx(4.93e-5, rel=1e-3)


@settings(deadline=None, max_examples=60)
@given(schedules)
def test_levels_only_lose_signal(schedule: NoiseSchedule) -> None:
    alphas_bar = schedule.alphas_bar
    assert alphas_bar.shape == (schedule.timesteps,)
    assert float(alphas_bar[-1]) > 0 and float(alphas_bar[0]) < 1
    assert bool((alphas_bar.diff() < 0).all())
    snr = schedule.snr(torch.arange(schedule.timesteps))
    assert bool((snr.diff() < 0).all()) and bool((snr > 0).all())
    torch.testing.assert_close(alphas_bar, snr / (1 + snr), rtol=1e-12, atol=0)


@settings(deadline=None, max_examples=60)
@given(schedules, st.data())
def test_noising_preserves_variance(schedule: NoiseSchedule, data: st.DataObject) -> None:
    t = torch.tensor([data.draw(st.integers(0, schedule.timesteps - 1))])
    one, zero = torch.ones(1, 1, 1, 1).double(), torch.zeros(1, 1, 1, 1).double()
    signal, sigma = schedule.add_noise(one, zero, t), schedule.add_noise(zero, one, t)
    assert float(signal**2 + sigma**2) == pytest.approx(1, abs=1e-14)
    assert float(signal**2) == pytest.approx(float(schedule.alphas_bar[t]), rel=1e-14)
    # Salimans & Ho 2022: (x_t, v) is (x0, noise) turned by one angle.
    assert float(schedule.velocity(one, zero, t)) == -float(sigma)
    assert float(schedule.velocity(zero, one, t)) == float(signal)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept_and_a_scalar_level_serves_the_whole_batch(dtype: torch.dtype) -> None:
    schedule = NoiseSchedule("linear", 100)
    x0, noise = torch.randn(2, 5, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    for forward in (schedule.add_noise, schedule.velocity):
        scalar = forward(x0, noise, torch.tensor(42))
        assert scalar.dtype == dtype and scalar.shape == x0.shape
        assert torch.equal(scalar, forward(x0, noise, torch.full((5,), 42)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("cosine", 10), "kind: 'cosine' is not known; use one of linear, scaled_linear, square"),
        (("linear", 0), "timesteps: 0 noise levels are too few; use 1 or more"),
        (("linear", 10, 0.0), "beta_start: 0.0 is out of range; use a number between 0 and 1"),
        (("linear", 10, 0.1, 0.05), "beta_end: 0.05 is out of range; use a number from beta_start"),
        (("linear", 10, 0.1, 1.0), "beta_end: 1.0 is out of range"),
        (("linear", 10, 1e-17), "beta_start: 1e-17 adds no noise in float64; use a larger one"),
        (("linear", 9000, 0.1, 0.9), "timesteps: 9000 of these betas leave nothing"),
    ],
)
def test_refusals(arguments: tuple, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        NoiseSchedule(*arguments)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
