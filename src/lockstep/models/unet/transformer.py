"""The transformer of a U-Net: pixels attend to each other, then to a context.

N is the number of pixels of an image, L the length of the context, D its width; rows of pixels are
(B, N, width). Attribute names are diffusers' own, so that its weights load by name.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.config.networks import CrossAttentionUNetConfig
from lockstep.models.unet.blocks import attend
from lockstep.models.unet.norm import group_norm

# The library's own; its configuration's `norm_eps` is that of the resnets alone.
GROUP_NORM_EPS = 1e-6


class Transformer(nn.Module):
    """A transformer block between two 1x1 convolutions, added to the image.

    Rombach et al. 2022 (arXiv:2112.10752), appendix E.2.1. It is h * (C // h) wide, of h heads;
    see `CrossAttentionUNetConfig.heads`.
    """

    def __init__(self, channels: int, config: CrossAttentionUNetConfig) -> None:
        super().__init__()
        width = config.heads * (channels // config.heads)
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=GROUP_NORM_EPS)
        self.proj_in = nn.Conv2d(channels, width, 1)
        # A list for its name: transformer_blocks.0
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, config)])
        self.proj_out = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, H, W), (B, L, D) and (B, 1, 1, L) -> (B, C, H, W)."""
        # Pixels become rows of channels: a view when x is channels_last.
        rows = self.proj_in(group_norm(self.norm, x)).flatten(2).transpose(1, 2)
        rows = self.transformer_blocks[0](rows, context, mask)
        return x + self.proj_out(rows.transpose(1, 2).unflatten(2, x.shape[2:]))


class TransformerBlock(nn.Module):
    """Self-attention, attention to the context, and a feed-forward network.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.1, with the normalisation first in each.
    """

    def __init__(self, width: int, config: CrossAttentionUNetConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = MultiHeadAttention(width, width, config.heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = MultiHeadAttention(width, config.cross_attention_dim, config.heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, width), (B, L, D) and (B, 1, 1, L) -> (B, N, width)."""
        rows = self.norm1(x)
        x = x + self.attn1(rows, rows, None)
        x = x + self.attn2(self.norm2(x), context, mask)
        return x + self.ff(self.norm3(x))


class MultiHeadAttention(nn.Module):
    """Every row of x attends to every row of a context (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])  # a list for its name: to_out.0

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, width), (B, L, context_width) and (B, 1, 1, L) -> (B, N, width)."""
        q, k, v = (
            projected.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projected in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        return self.to_out[0](attend(q, k, v, mask).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a gated GELU of four times the width between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The identity stands where the library drops values with probability 0.
        self.net = nn.Sequential(
            GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        return self.net(x)


class GEGLU(nn.Module):
    """(x W + b) * gelu(x V + c): Shazeer 2020 (arXiv:2002.05202), eq. 6."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_width, 2 * out_width)  # W beside V

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, in_width) -> (B, N, out_width)."""
        value, gate = self.proj(x).chunk(2, dim=2)
        return value * F.gelu(gate)
