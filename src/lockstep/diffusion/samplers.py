"""Samplers: pure functions from noise to images over a denoiser.

They share these arguments:

denoise           (x_t, t) -> Estimate; guidance, if any, is inside it.
x                 (B, C, H, W), the image at level timesteps[0]: for the whole way N(0, I).
schedule          the levels' alphas_bar.
timesteps         strictly decreasing levels in [0, T), see `spacing.timesteps`. Step i goes from
                  timesteps[i] to timesteps[i + 1] and the last step to the clean end, so any
                  list is stepped through exactly, evenly spaced or not.
clip              None, or the bound c > 0 to which each estimate of x0 is clipped, [-c, c].
noise             () -> fresh standard normal noise of x's shape and device, called once for each
                  step that adds noise, in order. Its generators are the caller's.
callback          called with a `StepInfo` in each step, before x moves on.

Each returns the image after the last step. Coefficients are computed in float64 and applied to
x in its own dtype. No gradients are recorded. ValueError, one line, for an argument out of range.

Written ab for alphas_bar[t] of the step's own level and ab' for that of the level it goes to.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lockstep.diffusion._check import one_of
from lockstep.diffusion.denoiser import Denoise, Estimate
from lockstep.diffusion.schedule import NoiseSchedule

Variance = Literal["fixed_small", "fixed_large"]
FinalAlphaBar = Literal["one", "first"]
Noise = Callable[[], Tensor]
SIGMA_MAX = 80.0
"""Where the steps of Karras et al. 2022 begin, table 1; above it, images are nothing but noise."""


@dataclass(frozen=True)
class StepInfo:
    """One step as a callback sees it: its number, its level, x_t, and the (clipped) x0."""

    index: int
    t: int
    x: Tensor
    x0: Tensor


Callback = Callable[[StepInfo], object]


@torch.no_grad()
def ddpm(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    noise: Noise,
    variance: Variance = "fixed_small",
    clip: float | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling, Ho et al. 2020 (arXiv 2006.11239), algorithm 2.

    Between levels that are not neighbours, beta is that of the stride, 1 - ab / ab'.

    Parameters
    ----------
    variance
        Of the step's noise: `fixed_small`, the posterior's beta-tilde, or `fixed_large`, beta (its
        section 3.2). The last step adds none: it returns the mean.
    """
    one_of("variance", variance, get_args(Variance))
    for step in _steps(schedule, timesteps, "one"):
        x0, _ = _estimate(denoise, x, step, clip, callback)
        alpha = step.alpha_bar / step.next_alpha_bar
        beta = 1 - alpha
        left = (1 - step.next_alpha_bar) / (1 - step.alpha_bar)
        # Ho et al. 2020, eq. 7: the mean of q(x' | x_t, x0).
        on_x0 = math.sqrt(step.next_alpha_bar) * beta / (1 - step.alpha_bar)
        x = on_x0 * x0 + math.sqrt(alpha) * left * x
        if not step.last:
            x = x + math.sqrt(left * beta if variance == "fixed_small" else beta) * noise()
    return x


@torch.no_grad()
def ddim(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
    clip: float | None = None,
    rederive_epsilon: bool = True,
    final_alpha_bar: FinalAlphaBar = "one",
    callback: Callback | None = None,
) -> Tensor:
    """Song et al. 2021 (arXiv 2010.02502), eq. 12.

    Parameters
    ----------
    eta
        0 is deterministic and needs no `noise`; 1 is `ddpm` with `fixed_small`.
    rederive_epsilon
        Whether, after clipping x0, epsilon is taken anew from x_t and the clipped x0 (diffusers'
        use_clipped_model_output, there off). On by default: eq. 12 presumes
        x_t = sqrt(ab) x0 + sqrt(1 - ab) epsilon, and a clipped x0 beside the old epsilon makes up
        another x_t. With it, eta = 1 is `ddpm` with clipping, exactly; without it, it is not.
        Nothing is amplified: the division by sqrt(1 - ab) meets a factor of at most sqrt(1 - ab').
    final_alpha_bar
        The clean end: `one`, an image without noise, or `first`, alphas_bar[0], which leaves the
        noise of level 0 (diffusers' set_alpha_to_one=False).
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: {eta} is out of range; use 0 (DDIM) to 1 (DDPM)")
    if eta > 0 and noise is None:
        raise ValueError(f"noise: None, but eta {eta} adds noise; pass a noise function or eta 0")
    for step in _steps(schedule, timesteps, final_alpha_bar):
        x0, epsilon = _estimate(denoise, x, step, clip, callback)
        if clip is not None and rederive_epsilon:
            epsilon = (x - math.sqrt(step.alpha_bar) * x0) / math.sqrt(1 - step.alpha_bar)
        # Song et al. 2021, eq. 16: eta times the standard deviation of DDPM's posterior.
        beta = 1 - step.alpha_bar / step.next_alpha_bar
        deviation = eta * math.sqrt((1 - step.next_alpha_bar) / (1 - step.alpha_bar) * beta)
        # Of the noise due at the next level, the part that still points to x_t. Never negative
        # but for rounding.
        direction = math.sqrt(max(0.0, 1 - step.next_alpha_bar - deviation**2))
        x = math.sqrt(step.next_alpha_bar) * x0 + direction * epsilon
        if deviation > 0 and noise is not None:
            x = x + deviation * noise()
    return x


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    clip: float | None = None,
    final_alpha_bar: FinalAlphaBar = "one",
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095), algorithm 2. Deterministic.

    The first step is of first order (DDIM), having no step before it to extrapolate from. So is
    the last one, where fewer than 15 steps make the extrapolation unsafe (diffusers'
    lower_order_final), and where it ends without noise: at infinite log-SNR there is no slope.

    Parameters
    ----------
    final_alpha_bar
        `one`, ending at sigma 0, or `first`, ending at the sigma of level 0 (diffusers'
        final_sigmas_type `zero` and `sigma_min`).
    """
    previous: tuple[Tensor, float] | None = None  # x0 and log-SNR of the step before
    for step in _steps(schedule, timesteps, final_alpha_bar):
        x0, _ = _estimate(denoise, x, step, clip, callback)
        lower_order = step.last and (len(timesteps) < 15 or final_alpha_bar == "one")
        half_log_snr = _half_log_snr(step.alpha_bar)
        ahead = x0
        if previous is not None and not lower_order:
            # Lu et al. 2022, algorithm 2: D = (1 + 1 / 2r) x0 - 1 / 2r x0_before, r = h_before / h
            h = _half_log_snr(step.next_alpha_bar) - half_log_snr
            h_before = half_log_snr - previous[1]
            ahead = x0 + h / (2 * h_before) * (x0 - previous[0])
        # and x' = sigma' / sigma x - alpha' (exp(-h) - 1) D, where alpha' exp(-h) is
        # alpha sigma' / sigma: no logarithm here, so sigma' may be 0.
        x = _toward(ahead, x, step)
        previous = x0, half_log_snr
    return x


@torch.no_grad()
def euler(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    clip: float | None = None,
    final_alpha_bar: FinalAlphaBar = "one",
    callback: Callback | None = None,
) -> Tensor:
    """Euler steps of the probability flow, Karras et al. 2022 (arXiv 2206.00364), eqs. 1 and 3.

    In their units, where an image is not scaled down and its noise has the deviation
    sigma = sqrt((1 - ab) / ab), that is dx/dsigma = (x - x0) / sigma. Deterministic; `ddim` with
    eta 0 in other words.

    Parameters
    ----------
    final_alpha_bar
        `one`, ending at sigma 0, or `first`, ending at the sigma of level 0.
    """
    for step in _steps(schedule, timesteps, final_alpha_bar):
        x0, _ = _estimate(denoise, x, step, clip, callback)
        x = _toward(x0, x, step)
    return x


@torch.no_grad()
def heun(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    sigma_max: float = SIGMA_MAX,
    clip: float | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's second-order steps, Karras et al. 2022 (arXiv 2206.00364), algorithm 1.

    Deterministic. Each step evaluates the denoiser twice, at its own level and at the next one, but
    for the last step, which ends at sigma 0 by Euler's, and for those that begin above `sigma_max`.

    Parameters
    ----------
    sigma_max
        Above this sigma = sqrt((1 - ab) / ab) a step is Euler's. 80 is where the paper begins. A
        variance-preserving schedule may begin far above it (the cosine at 20,000, one of zero
        terminal SNR at infinity), and to average the two slopes over such a step multiplies the
        difference of its two estimates of x0 by sigma / 2 sigma'. math.inf corrects every step
        of finite sigma (as diffusers does).
    """
    if not sigma_max > 0:
        raise ValueError(f"sigma_max: {sigma_max} is not positive; use 80, or math.inf")
    for step in _steps(schedule, timesteps, "one"):
        x0, _ = _estimate(denoise, x, step, clip, callback)
        ahead = _toward(x0, x, step)
        sigma = _sigma(step.alpha_bar)
        if step.next_t is not None and sigma <= sigma_max and not math.isinf(sigma):
            x0_ahead = _clipped(denoise(ahead, step.next_t).x0, clip)
            # The mean of the slopes (x - x0) / sigma at both ends is that of one x0, this:
            ratio = sigma / (2 * _sigma(step.next_alpha_bar))
            ahead = _toward(x0 + ratio * (x0_ahead - x0), x, step)
        x = ahead
    return x


@dataclass(frozen=True)
class _Step:
    index: int
    t: int
    alpha_bar: float
    next_t: int | None  # of the last step there is none
    next_alpha_bar: float

    @property
    def last(self) -> bool:
        return self.next_t is None


def _steps(
    schedule: NoiseSchedule, timesteps: Sequence[int], final_alpha_bar: FinalAlphaBar
) -> Iterator[_Step]:
    """Each level paired with the one after it in the list, the last with the clean end."""
    one_of("final_alpha_bar", final_alpha_bar, get_args(FinalAlphaBar))
    levels = [int(t) for t in timesteps]
    if not levels or not schedule.timesteps > levels[0] or levels[-1] < 0:
        raise ValueError(
            f"timesteps: {levels} do not fit the schedule; use levels in [0, {schedule.timesteps})"
        )
    if any(later >= t for t, later in itertools.pairwise(levels)):
        raise ValueError(f"timesteps: {levels} do not strictly decrease; sort them, each once")
    alphas_bar = [float(schedule.alphas_bar[t]) for t in levels]
    end = 1.0 if final_alpha_bar == "one" else float(schedule.alphas_bar[0])
    following = zip([*levels[1:], None], [*alphas_bar[1:], end], strict=True)
    for i, (next_t, next_alpha_bar) in enumerate(following):
        yield _Step(i, levels[i], alphas_bar[i], next_t, next_alpha_bar)


def _estimate(
    denoise: Denoise, x: Tensor, step: _Step, clip: float | None, callback: Callback | None
) -> Estimate:
    """The denoiser's estimate, its x0 clipped, of which the callback is told."""
    x0, epsilon = denoise(x, step.t)
    x0 = _clipped(x0, clip)
    if callback is not None:
        callback(StepInfo(step.index, step.t, x, x0))
    return Estimate(x0, epsilon)


def _clipped(x0: Tensor, clip: float | None) -> Tensor:
    if clip is None:
        return x0
    if not clip > 0:
        raise ValueError(f"clip: {clip} is not positive; use 1.0 for images in [-1, 1], or None")
    return x0.clamp(-clip, clip)


def _toward(x0: Tensor, x: Tensor, step: _Step) -> Tensor:
    """The noise of x cut down to what is due at the next level, were x0 the clean image."""
    shrink = math.sqrt((1 - step.next_alpha_bar) / (1 - step.alpha_bar))
    on_x0 = math.sqrt(step.next_alpha_bar) - math.sqrt(step.alpha_bar) * shrink
    return shrink * x + on_x0 * x0


def _sigma(alpha_bar: float) -> float:
    """The noise's deviation where images are not scaled down, the time of Karras et al. 2022."""
    return math.sqrt((1 - alpha_bar) / alpha_bar) if alpha_bar > 0 else math.inf


def _half_log_snr(alpha_bar: float) -> float:
    """lambda = log(alpha / sigma), the time of Lu et al. 2022; -infinity where nothing is left.

    A step from there to another level is infinitely long, so that none extrapolates by it.
    """
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar)) if alpha_bar > 0 else -math.inf
