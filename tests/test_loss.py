"""The training loss: its targets, its weights, and where it is least."""

import pytest
import torch
from torch import Tensor

from lockstep.diffusion import NoiseSchedule, diffusion_loss, min_snr_weights

SCHEDULE = NoiseSchedule("squaredcos_cap_v2", 1000)
T = torch.tensor([0, 100, 500, 999])
X0, NOISE = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
PREDICTIONS = ("epsilon", "v", "x0", "flow")


def target(prediction: str) -> Tensor:
    ab = SCHEDULE.alphas_bar[T].float().reshape(4, 1, 1, 1)
    return {
        "epsilon": NOISE,
        "v": ab.sqrt() * NOISE - (1 - ab).sqrt() * X0,
        "x0": X0,
        "flow": NOISE - X0,
    }[prediction]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_it_is_the_mean_square_error_of_each_image(prediction: str) -> None:
    error = torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(4, 1, 1, 1)
    loss = diffusion_loss(
        lambda x, t: target(prediction) + error, SCHEDULE, X0, NOISE, T, prediction
    )
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor([0.0, 1.0, 4.0, 9.0]), rtol=1e-5, atol=1e-9)


def test_the_network_is_shown_the_noised_image_and_its_level() -> None:
    seen: list[Tensor] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.extend((x, t))
        return x

    diffusion_loss(network, SCHEDULE, X0, NOISE, T, "epsilon")
    assert torch.equal(seen[0], SCHEDULE.add_noise(X0, NOISE, T)) and torch.equal(seen[1], T)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_it_is_computed_in_float32(dtype: torch.dtype) -> None:
    loss = diffusion_loss(
        lambda x, t: torch.zeros_like(x, dtype=dtype), SCHEDULE, X0, NOISE, T, "x0"
    )
    assert loss.dtype == torch.float32
    assert torch.equal(loss, X0.square().flatten(1).mean(1))


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weights_in_closed_form(gamma: float) -> None:
    weights = {p: min_snr_weights(SCHEDULE, p, gamma) for p in PREDICTIONS}
    for t in T.tolist():
        ab = float(SCHEDULE.alphas_bar[t])
        snr = ab / (1 - ab)
        assert float(weights["epsilon"][t]) == pytest.approx(min(snr, gamma) / snr, rel=1e-12)
        assert float(weights["v"][t]) == pytest.approx(min(snr, gamma) / (snr + 1), rel=1e-12)
        assert float(weights["x0"][t]) == pytest.approx(min(snr, gamma), rel=1e-12)
    assert float(weights["epsilon"].max()) == 1  # where SNR < gamma nothing changes


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_plus_one_and_no_bound_weighs_as_the_error_of_v(prediction: str) -> None:
    weights = min_snr_weights(SCHEDULE, prediction, 1e9, plus_one=True)
    uniform = min_snr_weights(SCHEDULE, "v", 1e9, plus_one=True)
    torch.testing.assert_close(uniform, torch.ones(SCHEDULE.timesteps, dtype=torch.float64))
    snr = SCHEDULE.snr(torch.arange(SCHEDULE.timesteps))
    of_x0 = {
        "epsilon": snr,
        "v": snr + 1,
        "x0": torch.ones_like(snr),
        "flow": (snr.sqrt() + 1) ** 2,
    }[prediction]
    torch.testing.assert_close(weights * of_x0, snr + 1)
    bounded = min_snr_weights(SCHEDULE, prediction, 5.0, plus_one=True)
    torch.testing.assert_close(bounded * of_x0, (snr + 1).clamp(max=5))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_min_snr_multiplies_the_loss(prediction: str) -> None:
    arguments = (lambda x, t: x.sin(), SCHEDULE, X0, NOISE, T, prediction)
    ratio = diffusion_loss(*arguments, min_snr_gamma=5.0) / diffusion_loss(*arguments)
    expected = min_snr_weights(SCHEDULE, prediction, 5.0)[T].float()
    torch.testing.assert_close(ratio, expected, rtol=1e-5, atol=0)
    ratio = diffusion_loss(*arguments, 5.0, snr_plus_one=True) / diffusion_loss(*arguments)
    expected = min_snr_weights(SCHEDULE, prediction, 5.0, plus_one=True)[T].float()
    torch.testing.assert_close(ratio, expected, rtol=1e-5, atol=0)


def test_min_snr_weighs_the_same_error_the_same_under_each_prediction() -> None:
    """Hang et al. 2023's point: the weight is on the error of x0, however it is parametrized."""
    ab = SCHEDULE.alphas_bar[T].reshape(4, 1, 1, 1)
    signal, sigma = ab.sqrt(), (1 - ab).sqrt()
    x0, noise = X0.double(), NOISE.double()
    x_t, error = signal * x0 + sigma * noise, 0.1
    # what each network would have to say for its x0 to be off by `error`
    says = {
        "x0": x0 + error,
        "epsilon": (x_t - signal * (x0 + error)) / sigma,
        "v": (signal * x_t - (x0 + error)) / sigma,
        "flow": (x_t - (signal + sigma) * (x0 + error)) / sigma,
    }
    losses = {
        p: diffusion_loss(lambda x, t, p=p: says[p], SCHEDULE, x0, noise, T, p, min_snr_gamma=5.0)
        for p in PREDICTIONS
    }
    # not at the last level for epsilon and v: in float32 an error of 5e-6 in a target is rounding
    for p in ("epsilon", "v", "flow"):
        torch.testing.assert_close(losses[p][:3], losses["x0"][:3], rtol=1e-3, atol=0)


def test_gradients_reach_the_network() -> None:
    weight = torch.ones((), requires_grad=True)
    diffusion_loss(lambda x, t: weight * x, SCHEDULE, X0, NOISE, T, "v", 5.0).mean().backward()
    assert weight.grad is not None and float(weight.grad) != 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="prediction: 'noise' is not known; use one of epsilon, v"):
        diffusion_loss(lambda x, t: x, SCHEDULE, X0, NOISE, T, "noise")
    with pytest.raises(ValueError, match="min_snr_gamma: 0 is not positive; use 5, or None"):
        diffusion_loss(lambda x, t: x, SCHEDULE, X0, NOISE, T, "v", 0)
