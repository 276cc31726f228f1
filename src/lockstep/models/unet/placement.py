"""Where in an image each label or word belongs: attention whose weights add up to 1 over places.

In cross-attention each pixel divides its attention among the tokens of a context, so nothing keeps
a token from being drawn at many places, or at none. Here each token divides its attention among the
pixels, and what it says is added to them by these weights. At high noise, where the best estimate
of an image is a mean over all places where an object may stand, such weights are what is needed:
the probability that it stands there.

(B, L, D) is a context of L tokens, labels or words, with its mask (B, L), True where one counts. Of
labels only those that are given count; of a frozen text encoder all, padding too.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.config.networks import PLACEMENT_HEAD_DIM, PLACEMENT_WIDTH, BackboneConfig
from lockstep.models.unet.norm import group_norm


class Tokens(NamedTuple):
    """A context at a noise level, (B, L, `PLACEMENT_WIDTH`), and its mask, (B, L)."""

    values: Tensor
    mask: Tensor


class PlacementTokens(nn.Module):
    """What the tokens of a context look for at a noise level, for all layers of a U-Net."""

    def __init__(self, context_dim: int, config: BackboneConfig) -> None:
        super().__init__()
        self.context = nn.Linear(context_dim, PLACEMENT_WIDTH)
        self.time = nn.Linear(config.embedding_dim, PLACEMENT_WIDTH)
        self.out = nn.Linear(PLACEMENT_WIDTH, PLACEMENT_WIDTH)

    def forward(self, context: Tensor, mask: Tensor, time: Tensor) -> Tokens:
        """(B, L, D), (B, L) and the time embedding (B, E), without a condition."""
        values = self.context(context) + self.time(F.silu(time))[:, None]
        return Tokens(self.out(F.silu(values)), mask)


class Placement(nn.Module):
    """Adds to each pixel the tokens' values, each weighted by the pixel's share of that token.

    With q and v of the tokens and k of the normalised pixels, a token's weights are the softmax of
    q k / sqrt(d) over the N pixels, and pixel n gets the sum of sqrt(N) weight_n v over the tokens.
    """

    def __init__(self, channels: int, config: BackboneConfig) -> None:
        super().__init__()
        self.heads = config.placement_heads
        inner = self.heads * PLACEMENT_HEAD_DIM
        self.group_norm = nn.GroupNorm(config.norm_groups, channels, eps=config.norm_eps)
        self.to_q = nn.Linear(PLACEMENT_WIDTH, inner)
        self.to_k = nn.Linear(channels, inner)
        self.to_v = nn.Linear(PLACEMENT_WIDTH, inner)
        self.to_out = nn.Linear(inner, channels)

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W). Tokens that are masked add nothing."""
        pixels = group_norm(self.group_norm, x).flatten(2).transpose(1, 2)
        q, k, v = (
            rows.unflatten(2, (self.heads, PLACEMENT_HEAD_DIM)).transpose(1, 2)
            for rows in (self.to_q(tokens.values), self.to_k(pixels), self.to_v(tokens.values))
        )
        weights = ((q * PLACEMENT_HEAD_DIM**-0.5) @ k.transpose(2, 3)).softmax(dim=3)
        v = v.masked_fill(~tokens.mask[:, None, :, None], 0) * pixels.shape[1] ** 0.5
        added = (weights.transpose(2, 3) @ v).transpose(1, 2).flatten(2)
        return x + self.to_out(added).transpose(1, 2).unflatten(2, x.shape[2:])


def placement_names(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The names of a U-Net's placement weights in a file of their own, as `lockstep export` has it.

    From the names of all its weights, in their order: those of placements, each with its name in
    that file; and the resnets that its layers come after, one each.
    """
    found, resnets = dict[str, str](), dict[str, int]()
    for name in names:
        block, _, of_layer = name.partition(".placements.")
        if name.startswith("placement_tokens."):
            found[name] = f"tokens.{name.removeprefix('placement_tokens.')}"
        elif of_layer:
            number, _, rest = of_layer.partition(".")
            index = resnets.setdefault(f"{block}.resnets.{number}", len(resnets))
            found[name] = f"layers.{index}.{rest}"
    return found, list(resnets)
