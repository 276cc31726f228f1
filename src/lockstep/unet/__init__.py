"""Small U-Nets for diffusion models, in torch alone.

`UNet(UNetConfig(...))(x, t, condition)` is diffusers' `UNet2DModel` as a plain function of tensors;
`LabelEmbedding` makes a condition out of labels. Knows no files and no training.
"""

from lockstep.unet.config import UNetConfig
from lockstep.unet.labels import LabelEmbedding
from lockstep.unet.unet import UNet, timestep_embedding

__all__ = ["LabelEmbedding", "UNet", "UNetConfig", "timestep_embedding"]
