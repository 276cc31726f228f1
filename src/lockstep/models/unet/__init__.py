"""Small U-Nets for diffusion models, in torch alone.

`UNet(UNetConfig(...))(x, t, condition)` is diffusers' `UNet2DModel` as a plain function of tensors,
`CrossAttentionUNet(CrossAttentionUNetConfig(...))(x, t, context, mask)` its `UNet2DConditionModel`;
`LabelEmbedding` makes a condition out of labels. Knows no files and no training.
"""

from lockstep.config.networks import CrossAttentionUNetConfig, UNetConfig
from lockstep.models.unet.embeddings import LabelEmbedding, timestep_embedding
from lockstep.models.unet.unet import CrossAttentionUNet, UNet

__all__ = [
    "CrossAttentionUNet",
    "CrossAttentionUNetConfig",
    "LabelEmbedding",
    "UNet",
    "UNetConfig",
    "timestep_embedding",
]
