"""Gives labels or words their places in the image, inside a U-Net of diffusers.

Loaded by the pipeline of this folder. It needs torch and diffusers alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class Placement(ModelMixin, ConfigMixin):
    """Attention of each token of a context over all pixels, after each resnet of a U-Net.

    `attach` once, and `place` before each call of the network.

    Parameters
    ----------
    widths
        The channels after each resnet, by its name in the U-Net.
    context, embedding
        Width of the context and of the time embedding.
    heads, head_dim, width
        Of the attention, and of the tokens it is given.
    norm_groups, norm_eps
        Of every group normalisation.
    """

    @register_to_config
    def __init__(
        self,
        widths: dict[str, int],
        context: int,
        embedding: int,
        heads: int,
        head_dim: int,
        width: int,
        norm_groups: int,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.tokens = _Tokens(context, embedding, width)
        self.layers = nn.ModuleList(
            _Layer(channels, width, heads, head_dim, nn.GroupNorm(norm_groups, channels, norm_eps))
            for channels in widths.values()
        )
        self._context: tuple[Tensor, Tensor] | None = None
        self._said: Tensor | None = None

    def attach(self, unet: Any) -> None:
        """Put the layers behind the resnets of a network."""
        unet.time_embedding.register_forward_hook(self._at_time)
        for name, layer in zip(self.config.widths, self.layers, strict=True):
            unet.get_submodule(name).register_forward_hook(self._after(layer))

    def place(self, context: Tensor, mask: Tensor) -> None:
        """What is placed from now on: (B, L, D), and which of it there is, (B, L)."""
        self._context = context.to(self.dtype), mask

    def _at_time(self, _module: nn.Module, _inputs: Any, embedding: Tensor) -> None:
        assert self._context is not None
        self._said = self.tokens(self._context[0], embedding)

    def _after(self, layer: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any, x: Tensor) -> Tensor:
            assert self._context is not None
            return layer(x, self._said, self._context[1])

        return hook


class _Tokens(nn.Module):
    """What the tokens look for at a noise level."""

    def __init__(self, context: int, embedding: int, width: int) -> None:
        super().__init__()
        self.context = nn.Linear(context, width)
        self.time = nn.Linear(embedding, width)
        self.out = nn.Linear(width, width)

    def forward(self, context: Tensor, time: Tensor) -> Tensor:
        return self.out(F.silu(self.context(context) + self.time(F.silu(time))[:, None]))


class _Layer(nn.Module):
    """Adds to each pixel what the tokens say, by the share of each token that it has."""

    def __init__(
        self, channels: int, width: int, heads: int, head_dim: int, norm: nn.GroupNorm
    ) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.group_norm = norm
        self.to_q = nn.Linear(width, heads * head_dim)
        self.to_k = nn.Linear(channels, heads * head_dim)
        self.to_v = nn.Linear(width, heads * head_dim)
        self.to_out = nn.Linear(heads * head_dim, channels)

    def forward(self, x: Tensor, said: Tensor, mask: Tensor) -> Tensor:
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (
            rows.unflatten(2, (self.heads, self.head_dim)).transpose(1, 2)
            for rows in (self.to_q(said), self.to_k(pixels), self.to_v(said))
        )
        weights = torch.softmax(q @ k.transpose(2, 3) * self.head_dim**-0.5, dim=3)
        v = v * (mask[:, None, :, None] * pixels.shape[1] ** 0.5)
        placed = (weights.transpose(2, 3) @ v).transpose(1, 2).flatten(2)
        return x + self.to_out(placed).transpose(1, 2).unflatten(2, x.shape[2:])
