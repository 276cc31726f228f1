"""Autoencoders: pictures as the smaller latents that latent diffusion works on, and back.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022
(arXiv:2112.10752), section 3.1. Three kinds with one interface: `Pixels` (none), `KLAutoencoder`
(the project's own, trained in a minute) and `Pretrained` (diffusers' `AutoencoderKL`).
"""

from lockstep.autoencoder.interface import Autoencoder
from lockstep.autoencoder.kl import KLAutoencoder, KLConfig
from lockstep.autoencoder.pixels import Pixels
from lockstep.autoencoder.pretrained import Pretrained
from lockstep.autoencoder.storage import DESCRIPTION, load, save

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
