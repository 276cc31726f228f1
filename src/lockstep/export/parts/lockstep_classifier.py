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

_PADDING, _UNKNOWN = 0, 1  # ids of words


class NoisyClassifier(ModelMixin, ConfigMixin):
    """A narrow ResNet-18 that is told the noise level; for prompts with a transformer on top.

    Parameters
    ----------
    inputs
        Number of labels, or size of the vocabulary.
    length
        L, the number of word ids of a prompt; None where conditions are labels.
    shape
        (C, H, W) of the noisy images or latents.
    width
        Of the first of four stages; each of the others has twice the one before.
    """

    @register_to_config
    def __init__(self, inputs: int, length: int | None, shape: list[int], width: int) -> None:
        super().__init__()
        channels, high, wide = shape
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
        if length is None:
            self.head = nn.Linear(widths[-1], inputs)
            return
        inner = 4 * width
        sizes = [(-(-high // part), -(-wide // part)) for part in (8, 16, 32)]
        self.image_projections = nn.ModuleList(nn.Linear(each, inner) for each in widths[1:])
        self.image_positions = nn.ParameterList(
            nn.Parameter(torch.zeros(rows * columns, inner)) for rows, columns in sizes
        )
        self.image_norm = nn.LayerNorm(inner)
        self.words = nn.Embedding(inputs + 1, inner)
        self.positions = nn.Parameter(torch.zeros(length, inner))
        self.layers = nn.ModuleList([_Layer(inner), _Layer(inner)])
        self.norm = nn.LayerNorm(inner)
        self.head = nn.Linear(inner, inputs)

    def gradient(self, x: Tensor, t: int, values: Tensor, said: Tensor) -> Tensor:
        """Gradient of the log-probability of exactly what `values` say, by x (B, C, H, W).

        `values` are labels (B, K), or word ids (B, L). It is 0 for images of which nothing is
        `said` (B,), or nothing that the classifier knows.
        """
        is_prompt = self.config.length is not None
        with torch.inference_mode(False), torch.enable_grad():
            values = values.clone()
            noisy = x.detach().clone().to(self.dtype).requires_grad_()
            features = self._features(noisy, torch.full((len(x),), t, device=x.device))
            found = self._of_prompts if is_prompt else self._of_labels
            known = said & (values > (_UNKNOWN if is_prompt else 0)).any(1)
            likelihood = (found(features, values) * known).sum()
            (gradient,) = torch.autograd.grad(likelihood, noisy)
        return gradient.to(x.dtype)

    def _features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        embedded = F.silu(self.time(t))
        x = F.avg_pool2d(F.silu(self.norm_in(self.conv_in(x))), 2, ceil_mode=True)
        made = []
        for stage, shift in zip(self.stages, self.shifts, strict=True):
            x = stage(x + shift(embedded)[:, :, None, None])
            made.append(x)
        return made

    def _of_labels(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """Log-probability (B,) of just these labels (B, K)."""
        logits = self.head(features[-1].mean((2, 3))).float()
        wrong = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
        return -wrong.sum(1)

    def _of_prompts(self, features: list[Tensor], ids: Tensor) -> Tensor:
        """Log-probability (B,) of the known words (B, L), and of no more of them."""
        ids = ids.long()
        maps = zip(self.image_projections, features[1:], self.image_positions, strict=True)
        tokens = [
            project(found.flatten(2).transpose(1, 2)) + position
            for project, found, position in maps
        ]
        image = self.image_norm(torch.cat(tokens, 1))
        x = self.words(F.pad(ids[:, :-1], (1, 0), value=self.config.inputs)) + self.positions
        for layer in self.layers:
            x = layer(x, image)
        logits = self.head(self.norm(x)).float()
        wrong = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
        is_end = (ids == _PADDING) & ((ids == _PADDING).cumsum(1) == 1)
        return -(wrong * ((ids > _UNKNOWN) | is_end)).sum(1)


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


class _Layer(nn.Module):
    """Of a transformer's decoder: words attend to those before, then to the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.self_attention = _Attention(width)
        self.norm_2 = nn.LayerNorm(width)
        self.cross_attention = _Attention(width)
        self.norm_3 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        own = self.norm_1(x)
        x = x + self.self_attention(own, own, is_causal=True)
        x = x + self.cross_attention(self.norm_2(x), image)
        return x + self.feed_forward(self.norm_3(x))


class _Attention(nn.Module):
    """With four heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor, is_causal: bool = False) -> Tensor:
        q, k, v = (
            made.unflatten(2, (4, -1)).transpose(1, 2)
            for made in (self.query(x), self.key(other), self.value(other))
        )
        found = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        return self.out(found.transpose(1, 2).flatten(2))
