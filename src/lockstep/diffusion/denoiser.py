"""What a network says of a noisy image, whatever it was trained to predict.

A denoiser maps (x_t, t) to an `Estimate` of the clean image and of the noise in it. Samplers
see nothing else, so the prediction kind and guidance are settled here and nowhere else.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from lockstep.diffusion._check import one_of
from lockstep.diffusion.schedule import NoiseSchedule

_LEAST_SIGNAL = 1e-5
"""The least alphas_bar at which a classifier guides.

Below it x_t tells nothing about the image: the gradient with respect to x_t is only error, and
converting it to x0 would amplify that more than 300 times.
"""

Prediction = Literal["epsilon", "v", "x0", "flow"]
Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, C, H, W), t (B,) int64) -> (B, C, H, W); a condition is bound by the caller."""


LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, C, H, W), t (B,) int64) -> (B,), how likely x_t has its condition: log p(y | x_t)."""


class Estimate(NamedTuple):
    """The two readings of one network output; x_t = sqrt(ab) x0 + sqrt(1 - ab) epsilon."""

    x0: Tensor
    epsilon: Tensor


class Denoise(Protocol):
    """A denoiser: the noisy image (B, C, H, W) and its level, an int in [0, T)."""

    def __call__(self, x: Tensor, t: int, /) -> Estimate: ...


class ScheduledDenoise(Denoise, Protocol):
    """A denoiser that knows its noise levels."""

    @property
    def schedule(self) -> NoiseSchedule: ...


def check_prediction(prediction: Prediction, schedule: NoiseSchedule) -> None:
    """Raise ValueError unless there is such a prediction, and it says what x0 is at each level."""
    one_of("prediction", prediction, get_args(Prediction))
    if prediction == "epsilon" and schedule.alphas_bar[-1] == 0:
        raise ValueError(
            "prediction: epsilon says nothing of the image at the last level, where nothing of it "
            "is left (zero terminal SNR); use v, x0 or flow"
        )


@dataclass(frozen=True)
class Denoiser:
    """A network together with what it predicts: `epsilon`, `v`, `x0` or `flow`.

    Both halves of the estimate come straight from the network's output, never one from the
    other: at the cosine schedule's last level sqrt(alphas_bar) is 5e-5, and a detour through the
    wrong half would divide by it. The two divisions left are in the predictions' definition: an
    epsilon network says x0 only up to 1 / sqrt(alphas_bar), an x0 network says epsilon only up to
    1 / sqrt(1 - alphas_bar).
    """

    network: Network
    schedule: NoiseSchedule
    prediction: Prediction

    def __post_init__(self) -> None:
        check_prediction(self.prediction, self.schedule)

    def __call__(self, x: Tensor, t: int) -> Estimate:
        """The estimate at level t, 0 <= t < T, of x (B, C, H, W), in x's dtype.

        The network may answer in another dtype (autocast): its output is read in x's.
        """
        alpha_bar = float(self.schedule.alphas_bar[t])
        signal, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        levels = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        output = self.network(x, levels).to(x.dtype)
        if self.prediction == "epsilon":  # Ho et al. 2020, eq. 4 solved for x0
            return Estimate((x - sigma * output) / signal, output)
        if self.prediction == "x0":  # and for the noise
            return Estimate(output, (x - signal * output) / sigma)
        if self.prediction == "flow":  # epsilon - x0, Lipman et al. 2023 (arXiv 2210.02747), eq. 23
            whole = signal + sigma
            return Estimate((x - sigma * output) / whole, (x + signal * output) / whole)
        # Salimans & Ho 2022: (x_t, v) is (x0, epsilon) turned by an angle, so the way back is a
        # rotation too and divides by nothing.
        return Estimate(signal * x - sigma * output, sigma * x + signal * output)


@dataclass(frozen=True)
class Guidance:
    """Guidance of one denoiser away from another; itself a denoiser.

    epsilon = epsilon_u + scale (epsilon_c - epsilon_u), Ho & Salimans 2022 (arXiv 2207.12598),
    eq. 6 with scale = 1 + w; x0 likewise, since x0 is affine in epsilon at a given x_t. The other
    denoiser is the same network without its condition (classifier-free guidance) or a worse one of
    the same condition (autoguidance, Karras et al. 2024, arXiv 2406.02507, eq. 3).

    Parameters
    ----------
    conditional, unconditional
        The better denoiser, and the one to lead away from.
    scale
        0 is the unconditional denoiser, 1 the conditional (the unconditional is then not
        evaluated), more than 1 extrapolates. Any finite number.
    interval
        Where to guide (Kynkäänniemi et al. 2024, arXiv 2404.07724): a pair (low, high) of noise
        levels in units of t / T, 0 <= low < high <= 1, both ends included. 0 is the clean end.
        Outside it only the conditional is evaluated. None guides everywhere.
    rescale
        0 to 1: how far the guided x0 of each image is brought back to the standard deviation of
        the conditional one, and epsilon with it (Lin et al. 2023, arXiv 2305.08891, section
        3.4). They rescale what the network predicts, which is the same where that is x0.

    Raises
    ------
    ValueError
        If one of the three is out of its range.
    """

    conditional: ScheduledDenoise
    unconditional: Denoise
    scale: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"scale: {self.scale} is not finite; use 1 for no guidance")
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"rescale: {self.rescale} is out of range; use 0 (none) to 1")
        _check_interval(self.interval)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.conditional.schedule

    def __call__(self, x: Tensor, t: int) -> Estimate:
        """The guided estimate at level t of x (B, C, H, W)."""
        conditional = self.conditional(x, t)
        if self.scale == 1 or not _is_inside(self.interval, t, self.schedule):
            return conditional
        unconditional = self.unconditional(x, t)
        guided = Estimate(
            *(u + self.scale * (c - u) for c, u in zip(conditional, unconditional, strict=True))
        )
        if self.rescale == 0:
            return guided
        ratio = _deviation(conditional.x0) / _deviation(guided.x0)
        x0 = (self.rescale * ratio + 1 - self.rescale) * guided.x0
        alpha_bar = float(self.schedule.alphas_bar[t])
        # x_t is as it was: what x0 loses, epsilon gains.
        gained = math.sqrt(alpha_bar / (1 - alpha_bar)) * (guided.x0 - x0)
        return Estimate(x0, guided.epsilon + gained)


@dataclass(frozen=True)
class ClassifierGuidance:
    """Guidance of a denoiser by a classifier of noisy images; itself a denoiser.

    epsilon = epsilon - sqrt(1 - ab) scale grad log p(y | x_t), Dhariwal & Nichol 2021 (arXiv
    2105.05233), algorithm 2, and x0 follows from x_t and that epsilon. It may be put on top of
    `Guidance`.

    Parameters
    ----------
    denoise
        What is guided.
    classifier
        log p(y | x_t), differentiable with respect to x_t, for this schedule's noise levels.
    scale
        0 guides nothing; finite and not negative. On an unconditional denoiser 1 is Bayes' rule.
    interval
        As in `Guidance`: where to guide.

    Raises
    ------
    ValueError
        If `scale` or `interval` is out of range.
    """

    denoise: ScheduledDenoise
    classifier: LogLikelihood
    scale: float
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_interval(self.interval)
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"scale: {self.scale} is out of range; use 0 for no guidance, or more")

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int) -> Estimate:
        """The guided estimate at level t of x (B, C, H, W)."""
        estimate = self.denoise(x, t)
        alpha_bar = float(self.schedule.alphas_bar[t])
        inside = _is_inside(self.interval, t, self.schedule)
        if self.scale == 0 or not inside or alpha_bar < _LEAST_SIGNAL:
            return estimate
        with torch.inference_mode(False), torch.enable_grad():
            noisy = x.detach().clone().requires_grad_()
            levels = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
            # Each image's likelihood depends on that image alone, so a sum has all gradients.
            (gradient,) = torch.autograd.grad(self.classifier(noisy, levels).sum(), noisy)
        toward = self.scale * gradient.to(x.dtype)
        return Estimate(
            estimate.x0 + (1 - alpha_bar) / math.sqrt(alpha_bar) * toward,
            estimate.epsilon - math.sqrt(1 - alpha_bar) * toward,
        )


def _check_interval(interval: tuple[float, float] | None) -> None:
    if interval is not None:
        low, high = interval
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"interval: ({low}, {high}) is not a range of t / T; "
                "use 0 <= low < high <= 1, or None to guide everywhere"
            )


def _is_inside(interval: tuple[float, float] | None, t: int, schedule: NoiseSchedule) -> bool:
    low, high = interval or (0, 1)
    return low <= t / schedule.timesteps <= high


def _deviation(x0: Tensor) -> Tensor:
    """(B, 1, 1, 1): of each image, never 0."""
    return x0.std((1, 2, 3), keepdim=True).clamp(min=torch.finfo(x0.dtype).tiny)
