"""Autoencoders: images as the smaller latents that latent diffusion works on, and back.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022
(arXiv:2112.10752), section 3.1. Three kinds with one interface: `Pixels` (none), `KLAutoencoder`
(the project's own, trained in a minute) and `Pretrained` (diffusers' `AutoencoderKL`).
"""

from lockstep.models.autoencoder.interface import Autoencoder, Pixels
from lockstep.models.autoencoder.kl import KLAutoencoder, KLConfig
from lockstep.models.autoencoder.pretrained import Pretrained
from lockstep.models.autoencoder.storage import DESCRIPTION, load, save

__all__ = [
    "DESCRIPTION",
    "Autoencoder",
    "KLAutoencoder",
    "KLConfig",
    "Pixels",
    "Pretrained",
    "load",
    "save",
]
