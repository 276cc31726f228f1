"""Gives labels or words their places in the image, inside a U-Net of diffusers.

Loaded by the pipeline of this folder. It needs torch and diffusers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class Placement(ModelMixin, ConfigMixin):
    """Attention of each token of a context over all pixels, after each resnet of a U-Net.

    Parameters
    ----------
    resnets, channels
        The names of the resnets in the U-Net, and the channels after each.
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
        resnets: list[str],
        channels: list[int],
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
            _Layer(own, width, heads, head_dim, nn.GroupNorm(norm_groups, own, norm_eps))
            for own in channels
        )

    @contextmanager
    def inside(self, unet: Any, context: Tensor, mask: Tensor) -> Iterator[None]:
        """The layers are behind the resnets of a network, for the calls in a block.

        They place the context (B, L, D), as far as its mask (B, L) is True.
        """
        tokens = list[Tensor]()

        def at_time(_module: nn.Module, _inputs: Any, time: Tensor) -> None:
            tokens[:] = [self.tokens(context.to(self.dtype), time.to(self.dtype))]

        def behind(layer: nn.Module) -> Callable[[nn.Module, Any, Tensor], Tensor]:
            return lambda _module, _inputs, x: layer(x, tokens[0], mask)

        with ExitStack() as stack:
            stack.enter_context(unet.time_embedding.register_forward_hook(at_time))
            for name, layer in zip(self.config.resnets, self.layers, strict=True):
                hook = unet.get_submodule(name).register_forward_hook(behind(layer))
                stack.enter_context(hook)
            yield


class _Tokens(nn.Module):
    """A context at a noise level."""

    def __init__(self, context: int, embedding: int, width: int) -> None:
        super().__init__()
        self.context = nn.Linear(context, width)
        self.time = nn.Linear(embedding, width)
        self.out = nn.Linear(width, width)

    def forward(self, context: Tensor, time: Tensor) -> Tensor:
        return self.out(F.silu(self.context(context) + self.time(F.silu(time))[:, None]))


class _Layer(nn.Module):
    """Adds to each pixel the tokens' values, each weighted by the pixel's share of that token."""

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

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        pixels = self.group_norm(x.to(tokens.dtype)).flatten(2).transpose(1, 2)
        q, k, v = (
            rows.unflatten(2, (self.heads, self.head_dim)).transpose(1, 2)
            for rows in (self.to_q(tokens), self.to_k(pixels), self.to_v(tokens))
        )
        weights = torch.softmax(q @ k.transpose(2, 3) * self.head_dim**-0.5, dim=3)
        v = v.masked_fill(~mask[:, None, :, None], 0) * pixels.shape[1] ** 0.5
        added = (weights.transpose(2, 3) @ v).transpose(1, 2).flatten(2)
        return x + self.to_out(added).transpose(1, 2).unflatten(2, x.shape[2:]).to(x.dtype)
