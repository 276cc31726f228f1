"""U-Nets as diffusers' own, with the same weights; pixels in patches are its channels.

Placement layers, which the library does not have, are kept beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
from torch import Tensor

from lockstep.config.networks import (
    PLACEMENT_HEAD_DIM,
    PLACEMENT_WIDTH,
    BackboneConfig,
    CrossAttentionUNetConfig,
    UNetConfig,
)
from lockstep.export.parts.lockstep_placement import Placement
from lockstep.models.unet.placement import placement_names


def library_unet(
    config: UNetConfig | CrossAttentionUNetConfig, condition: bool, **more: Any
) -> Any:
    """`UNet2DModel` or `UNet2DConditionModel` of a configuration; its weights are random.

    The library has no patches: where `config.patch` is above 1 it is the network inside, whose
    channels are folded pixels.

    Parameters
    ----------
    condition
        Whether a vector is added to the time embedding.
    more
        Further arguments of the library's, such as `sample_size`.
    """
    arguments = {**library_arguments(config, condition), **more}
    if isinstance(config, UNetConfig):
        attended = config.attention
        build: Any = diffusers.UNet2DModel
        return build(
            **arguments,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attended),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attended[::-1]),
            attention_head_dim=config.attention_head_dim,
            attn_norm_num_groups=config.norm_groups,
        )
    attended = config.cross_attention
    build = diffusers.UNet2DConditionModel
    return build(
        **arguments,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attended),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in attended[::-1]),
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.heads,  # the library takes it for their number
    )


def placement_of(
    config: UNetConfig | CrossAttentionUNetConfig, weights: Mapping[str, Tensor]
) -> Placement | None:
    """The layers behind the resnets of a U-Net, from all of its weights; None if it has none."""
    names, resnets = placement_names(weights)
    if not names:
        return None
    own = {theirs: weights[ours] for ours, theirs in names.items()}
    placement = Placement(
        resnets=resnets,
        channels=[len(own[f"layers.{i}.to_out.weight"]) for i in range(len(resnets))],
        context=(
            config.embedding_dim if isinstance(config, UNetConfig) else config.cross_attention_dim
        ),
        embedding=config.embedding_dim,
        heads=config.placement_heads,
        head_dim=PLACEMENT_HEAD_DIM,
        width=PLACEMENT_WIDTH,
        norm_groups=config.norm_groups,
        norm_eps=config.norm_eps,
    )
    placement.load_state_dict(own)
    return placement.eval()


def library_arguments(config: BackboneConfig, condition: bool) -> dict[str, Any]:
    """What diffusers' U-Nets all call a configuration's fields."""
    folded = config.patch**2
    return {
        "in_channels": config.in_channels * folded,
        "out_channels": config.out_channels * folded,
        "block_out_channels": config.channels,
        "layers_per_block": config.layers_per_block,
        "norm_num_groups": config.norm_groups,
        "norm_eps": config.norm_eps,
        "dropout": config.dropout,
        "flip_sin_to_cos": config.flip_sin_to_cos,
        "freq_shift": config.freq_shift,
        "downsample_padding": config.downsample_padding,
        "time_embedding_dim": config.time_embedding_dim,
        "resnet_time_scale_shift": "scale_shift" if config.scale_shift else "default",
        "class_embed_type": "identity" if condition else None,
    }
