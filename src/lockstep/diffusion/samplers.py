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
        shrink = math.sqrt((1 - step.next_alpha_bar) / (1 - step.alpha_bar))
        on_x0 = math.sqrt(step.next_alpha_bar) - math.sqrt(step.alpha_bar) * shrink
        x = shrink * x + on_x0 * ahead
        previous = x0, half_log_snr
    return x


@dataclass(frozen=True)
class _Step:
    index: int
    t: int
    alpha_bar: float
    next_alpha_bar: float
    last: bool


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
    for i, t in enumerate(levels):
        last = i == len(levels) - 1
        yield _Step(i, t, alphas_bar[i], end if last else alphas_bar[i + 1], last)


def _estimate(
    denoise: Denoise, x: Tensor, step: _Step, clip: float | None, callback: Callback | None
) -> Estimate:
    """The denoiser's estimate, its x0 clipped, of which the callback is told."""
    x0, epsilon = denoise(x, step.t)
    if clip is not None:
        if not clip > 0:
            raise ValueError(
                f"clip: {clip} is not positive; use 1.0 for images in [-1, 1], or None"
            )
        x0 = x0.clamp(-clip, clip)
    if callback is not None:
        callback(StepInfo(step.index, step.t, x, x0))
    return Estimate(x0, epsilon)


def _half_log_snr(alpha_bar: float) -> float:
    """lambda = log(alpha / sigma), the time of Lu et al. 2022."""
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
