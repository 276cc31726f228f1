"""Small U-Nets for diffusion models, in torch alone.

`UNet(UNetConfig(...))(x, t, condition)` is diffusers' `UNet2DModel` as a plain function of tensors,
`CrossAttentionUNet(CrossAttentionUNetConfig(...))(x, t, context, mask)` its `UNet2DConditionModel`;
`LabelEmbedding` makes a condition out of labels. Knows no files and no training.
"""

from lockstep.unet.backbone import timestep_embedding
from lockstep.unet.config import CrossAttentionUNetConfig, UNetConfig
from lockstep.unet.cross_attention import CrossAttentionUNet
from lockstep.unet.labels import LabelEmbedding
from lockstep.unet.unet import UNet

__all__ = [
    "CrossAttentionUNet",
    "CrossAttentionUNetConfig",
    "LabelEmbedding",
    "UNet",
    "UNetConfig",
    "timestep_embedding",
]
