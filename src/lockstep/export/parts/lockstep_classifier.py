"""Recognises what noisy images show: its gradient leads to what was requested.

Loaded by the pipeline of this folder. It needs torch and diffusers alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class NoisyClassifier(ModelMixin, ConfigMixin):
    """A narrow ResNet-18 that is told the noise level.

    Parameters
    ----------
    inputs
        Number of labels, or size of the vocabulary.
    terms
        Where conditions are words: those that it predicts, and pairs of adjacent ones, by their
        ids; a single word has None as its second element. None where conditions are labels.
    channels
        Of the noisy images or latents.
    width
        Of the first of four stages; each of the others has twice the one before.
    """

    @register_to_config
    def __init__(
        self, inputs: int, terms: list[list[int | None]] | None, channels: int, width: int
    ) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        before = [width, *widths[:-1]]
        self.time = _Time(4 * width)
        self.conv_in = nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False)
        self.norm_in = nn.BatchNorm2d(width)
        self.stages = nn.ModuleList(
            nn.Sequential(_Block(inner, outer), _Block(outer, outer))
            for inner, outer in zip(before, widths, strict=True)
        )
        self.shifts = nn.ModuleList(nn.Linear(4 * width, inner) for inner in before)
        self.head = nn.Linear(widths[-1], inputs if terms is None else len(terms))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits (B, K) of noisy images (B, C, H, W) at levels (B,)."""
        embedded = F.silu(self.time(t))
        x = F.avg_pool2d(F.silu(self.norm_in(self.conv_in(x))), 2, ceil_mode=True)
        for stage, shift in zip(self.stages, self.shifts, strict=True):
            x = stage(x + shift(embedded)[:, :, None, None])
        return self.head(x.mean((2, 3)))

    def gradient(self, x: Tensor, t: int, values: Tensor, said: Tensor) -> Tensor:
        """Gradient of the log-probability of exactly what `values` say, by x (B, C, H, W).

        `values` are labels (B, K), or word ids (B, L). It is 0 for images of which nothing is
        `said` (B,), or nothing that the classifier knows.
        """
        with torch.inference_mode(False), torch.enable_grad():
            targets = self.targets(values)
            noisy = x.detach().clone().to(self.dtype).requires_grad_()
            logits = self(noisy, torch.full((len(x),), t, device=x.device)).float()
            wrong = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            known = said & targets.bool().any(1)
            likelihood = -(wrong.sum(1) * known).sum()
            (found,) = torch.autograd.grad(likelihood, noisy)
        return found.to(x.dtype)

    def targets(self, values: Tensor) -> Tensor:
        """(B, K): 1 where there is a label or a term, else 0."""
        if self.config.terms is None:
            return values.float()
        pairs = [(first, -1 if second is None else second) for first, second in self.config.terms]
        first, second = torch.tensor(pairs, device=values.device).T
        behind = F.pad(values[:, 1:], (0, 1))[:, :, None]
        same = (second == -1) | (behind == second)
        return ((values[:, :, None] == first) & same).any(1).float()


class _Time(nn.Module):
    """Cosines and sines of the level (Vaswani et al. 2017), and two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        half = self.linear_1.in_features // 2
        places = torch.arange(half, dtype=torch.float32, device=t.device)
        angles = t[:, None].float() * torch.exp(-math.log(10000) * places / half)
        waves = torch.cat((angles.cos(), angles.sin()), 1).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(waves)))


class _Block(nn.Module):
    """Two convolutions beside a shortcut; with more channels than before, at half the size."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        stride = 1 if inner == outer else 2
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.shortcut = nn.Sequential()
        if stride > 1:
            change = nn.Conv2d(inner, outer, 1, stride, bias=False)
            self.shortcut = nn.Sequential(change, nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        inside = self.norm2(self.conv2(F.silu(self.norm1(self.conv1(x)))))
        return F.silu(inside + self.shortcut(x))
