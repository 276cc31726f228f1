"""Noise schedules: how much of an image is left at each of T discrete noise levels.

Notation of Ho et al. 2020 (arXiv 2006.11239): an image x0 becomes, at level t in [0, T),

    x_t = sqrt(alphas_bar[t]) x0 + sqrt(1 - alphas_bar[t]) noise,    noise ~ N(0, I),

with alphas_bar[t] the product of 1 - betas[s] over s <= t. Level 0 is the cleanest and still
carries a little noise; the clean image itself has no index. All tables are float64 on the CPU:
at the cosine schedule's last level alphas_bar is 2e-9, and float32 betas have it wrong by 1e-5
of itself.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from lockstep.diffusion._check import one_of

ScheduleKind = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "straight"]


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving noise schedule of `timesteps` levels.

    Parameters
    ----------
    kind
        `linear` (Ho et al. 2020), `scaled_linear` (linear in sqrt(beta): Rombach et al. 2022),
        `squaredcos_cap_v2` (the cosine of Nichol & Dhariwal 2021) or `straight`, the path of flow
        matching (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003).
        That path is (1 - s) x0 + s noise, s = (t + 1) / T; here it is divided by
        sqrt((1 - s)² + s²), so that its variance too is preserved. Its last level is noise alone.
    timesteps
        T >= 1, the number of noise levels.
    beta_start, beta_end
        First and last beta of the two linear kinds, 0 < beta_start <= beta_end < 1; the others
        do not use them.
    zero_terminal_snr
        Whether the last level is noise and nothing else, as samplers begin: Lin et al. 2023 (arXiv
        2305.08891), algorithm 1. Of a network that predicts epsilon nobody could tell x0 there.
    shift
        Of `straight`: s becomes shift s / (1 + (shift - 1) s), Esser et al. 2024 (arXiv
        2403.03206), eq. 23. Above 0; more than 1 makes more of the levels noisy.

    Raises
    ------
    ValueError
        For a field out of its range, and for a schedule that leaves float64: no noise at all at
        the first level, or nothing at all of the image at the last.
    """

    kind: ScheduleKind
    timesteps: int
    beta_start: float = 1e-4
    beta_end: float = 0.02
    zero_terminal_snr: bool = False
    shift: float = 1.0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(ScheduleKind))
        if self.timesteps < 1:
            raise ValueError(f"timesteps: {self.timesteps} noise levels are too few; use 1 or more")
        if not 0 < self.beta_start < 1:
            raise ValueError(
                f"beta_start: {self.beta_start} is out of range; use a number between 0 and 1"
            )
        if not self.beta_start <= self.beta_end < 1:
            raise ValueError(
                f"beta_end: {self.beta_end} is out of range; "
                f"use a number from beta_start ({self.beta_start}) up to, not including, 1"
            )
        if not 0 < self.shift < math.inf:
            raise ValueError(f"shift: {self.shift} is out of range; use 1, or a number above 0")
        # Everything downstream divides by sqrt(1 - alphas_bar), or by sqrt(alphas_bar).
        if self.alphas_bar[0] == 1:
            name = "shift" if self.kind == "straight" else "beta_start"
            raise ValueError(
                f"{name}: {getattr(self, name)} adds no noise in float64; use a larger one"
            )
        ends_in_noise = self.zero_terminal_snr or self.kind == "straight"
        if ends_in_noise and self.timesteps < 2:
            raise ValueError(
                f"timesteps: {self.timesteps} is the last level and nothing else; use 2 or more"
            )
        if not self.alphas_bar[-2 if ends_in_noise else -1] > 0:
            raise ValueError(
                f"timesteps: {self.timesteps} of these betas leave nothing of the image "
                "in float64; use fewer timesteps or smaller betas"
            )

    @cached_property
    def betas(self) -> Tensor:
        """(T,) float64: the variance that the step to level t adds, in (0, 1).

        The last one is 1 where the last level is noise alone.
        """
        if self.kind == "straight":
            return _betas_of(_straight_alphas_bar(self.timesteps, self.shift))
        if self.kind == "linear":
            betas = _linspace(self.beta_start, self.beta_end, self.timesteps)
        elif self.kind == "scaled_linear":
            ends = math.sqrt(self.beta_start), math.sqrt(self.beta_end)
            betas = _linspace(*ends, self.timesteps) ** 2
        else:
            betas = _cosine_betas(self.timesteps)
        return _zero_terminal_snr(betas) if self.zero_terminal_snr else betas

    @cached_property
    def alphas_bar(self) -> Tensor:
        """(T,) float64, strictly decreasing in (0, 1): the share of the image's variance left.

        The last one is 0 where the last level is noise alone.
        """
        return torch.cumprod(1 - self.betas, dim=0)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t of x0: the forward process in one step, Ho et al. 2020, eq. 4.

        Parameters
        ----------
        x0, noise
            (B, ...) of one floating dtype.
        t
            (B,) or () int64 in [0, T), on any device.

        Returns
        -------
        (B, ...)
            In x0's dtype, on x0's device.
        """
        signal, sigma = self._coefficients(t, like=x0)
        return signal * x0 + sigma * noise

    def velocity(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The target of v-prediction, Salimans & Ho 2022 (arXiv 2202.00512), section 4.

        v = sqrt(alphas_bar) noise - sqrt(1 - alphas_bar) x0. Shapes as in `add_noise`.
        """
        signal, sigma = self._coefficients(t, like=x0)
        return signal * noise - sigma * x0

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio alphas_bar / (1 - alphas_bar), float64, of t's shape and device."""
        alphas_bar = self.alphas_bar.to(t.device)[t]
        return alphas_bar / (1 - alphas_bar)

    def _coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alphas_bar[t]) and sqrt(1 - alphas_bar[t]), shaped to multiply `like`."""
        # The whole table travels, not t: t.cpu() would make a training step wait for its GPU.
        # Cast before the move, for devices that have no float64.
        shape = (-1,) + (1,) * (like.ndim - 1)
        t = t.to(like.device)
        signal, sigma = (
            table.to(like.dtype).to(like.device)[t].reshape(shape)
            for table in (self.alphas_bar.sqrt(), (1 - self.alphas_bar).sqrt())
        )
        return signal, sigma


def _linspace(start: float, end: float, steps: int) -> Tensor:
    return torch.linspace(start, end, steps, dtype=torch.float64)


def _cosine_betas(timesteps: int, max_beta: float = 0.999) -> Tensor:
    """Nichol & Dhariwal 2021 (arXiv 2102.09672), eq. 17, with the beta cap of its section 3.2."""

    def alpha_bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    edges = [alpha_bar(i / timesteps) for i in range(timesteps + 1)]
    betas = [min(1 - edges[i + 1] / edges[i], max_beta) for i in range(timesteps)]
    return torch.tensor(betas, dtype=torch.float64)


def _zero_terminal_snr(betas: Tensor) -> Tensor:
    """Betas whose sqrt(alphas_bar) begins as theirs does and ends at 0, Lin et al. 2023, alg. 1."""
    signal = torch.cumprod(1 - betas, dim=0).sqrt()
    first, last = signal[0], signal[-1]
    return _betas_of(((signal - last) * first / (first - last)) ** 2)


def _straight_alphas_bar(timesteps: int, shift: float) -> Tensor:
    """The share of the image's variance in (1 - s) x0 + s noise."""
    s = torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps
    s = shift * s / (1 + (shift - 1) * s)
    return (1 - s) ** 2 / ((1 - s) ** 2 + s**2)


def _betas_of(alphas_bar: Tensor) -> Tensor:
    return 1 - torch.cat([alphas_bar[:1], alphas_bar[1:] / alphas_bar[:-1]])
