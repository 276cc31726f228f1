"""What all U-Nets have in common: their levels and their middle."""

import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.config.networks import BackboneConfig
from lockstep.models.unet.blocks import DownBlock, MakeAttention, MidBlock, UpBlock
from lockstep.models.unet.embeddings import MLP, timestep_embedding
from lockstep.models.unet.norm import group_norm
from lockstep.models.unet.placement import PlacementTokens


class Backbone(nn.Module):
    """Levels of resnets going down, a middle, and levels going up that see the way down's outputs.

    Ho et al. 2020 (arXiv:2006.11239, appendix B), after Ronneberger et al. 2015. The submodules,
    but those of placements, carry diffusers' names, and initial weights are torch's defaults, as
    the library's are.

    `attended` says for each level whether an attention follows each of its resnets; `attention`
    makes them, and the middle's, each from its number of channels. `context_dim` is the width of
    the context for the placements, if `config.placement_heads` asks for any.
    """

    config: BackboneConfig

    def __init__(
        self,
        config: BackboneConfig,
        attended: tuple[bool, ...],
        attention: MakeAttention,
        context_dim: int,
    ) -> None:
        super().__init__()
        self.config = config
        channels, levels = config.channels, len(config.channels)
        folded = config.patch**2

        self.conv_in = nn.Conv2d(config.in_channels * folded, channels[0], 3, padding=1)
        self.time_embedding = MLP(channels[0], config.embedding_dim)
        self.placement_tokens = (
            PlacementTokens(context_dim, config) if config.placement_heads else None
        )
        # Width of each level's input on the way down, which the finer level made.
        entering = (channels[0], *channels[:-1])
        # Width of each level's input on the way up, which the coarser level (or the middle) made.
        rising = (*channels[1:], channels[-1])
        self.down_blocks = nn.ModuleList(
            DownBlock(entering[i], channels[i], attended[i], i == levels - 1, attention, config)
            for i in range(levels)
        )
        self.mid_block = MidBlock(channels[-1], attention, config)
        self.up_blocks = nn.ModuleList(
            UpBlock(rising[i], channels[i], entering[i], attended[i], i == 0, attention, config)
            for i in reversed(range(levels))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, channels[0], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[0], config.out_channels * folded, 3, padding=1)

    def predict(
        self,
        x: Tensor,
        t: Tensor,
        condition: Tensor | None,
        placed_context: tuple[Tensor, Tensor] | None,
        *context: Tensor | None,
    ) -> Tensor:
        """(B, in_channels, H, W), (B,) and (B, E) or None -> (B, out_channels, H, W).

        `placed_context` is a context and its mask, (B, L, D) and (B, L), for the placements, if
        there are any. `context` is handed to every attention after its image.
        """
        dtype = self.time_embedding.linear_1.weight.dtype
        emb = timestep_embedding(
            t, self.config.channels[0], self.config.flip_sin_to_cos, self.config.freq_shift
        )
        emb = self.time_embedding(emb.to(dtype))
        tokens = None
        if self.placement_tokens is not None and placed_context is not None:
            tokens = self.placement_tokens(*placed_context, emb)
        if condition is not None:
            emb = emb + condition.to(dtype)

        x = self.conv_in(F.pixel_unshuffle(x, self.config.patch))
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], emb, tokens, *context)
        x = self.mid_block(skips[-1], emb, tokens, *context)
        for up in self.up_blocks:
            x = up(x, emb, skips, tokens, *context)
        x = self.conv_out(group_norm(self.conv_norm_out, x, silu=True))
        return F.pixel_shuffle(x, self.config.patch)

    def check_shapes(self, x: Tensor, t: Tensor, condition: Tensor | None) -> None:
        """Raises a ValueError of one line if a shape does not fit."""
        channels, multiple = self.config.in_channels, self.config.size_multiple
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: give (batch, {channels}, height, width)"
            )
        if x.shape[2] % multiple or x.shape[3] % multiple:
            raise ValueError(
                f"x is {x.shape[2]} x {x.shape[3]} pixels: give multiples of {multiple} "
                f"(patch {self.config.patch} * 2 ** {len(self.config.channels) - 1} halvings)"
            )
        batch, width = x.shape[0], self.config.embedding_dim
        if t.shape != (batch,):
            raise ValueError(
                f"t has shape {tuple(t.shape)}: give one timestep an image, ({batch},)"
            )
        if condition is not None and condition.shape != (batch, width):
            raise ValueError(
                f"condition has shape {tuple(condition.shape)}: give ({batch}, {width}), "
                "the width of the time embedding"
            )
