"""How much of an image an autoencoder keeps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.models.autoencoder.interface import Autoencoder


def psnr(images: Tensor, reconstructions: Tensor) -> Tensor:
    """(B,) peak signal-to-noise ratios of (B, 3, H, W) in [-1, 1], in dB.

    10 log10(peak^2 / MSE) with a peak of 2; 106 dB if it is reconstructed to the bit.
    """
    errors = (images.double() - reconstructions.double()).square().mean((1, 2, 3))
    return 10 * (4 / errors.clamp(min=1e-10)).log10()


def reconstruction_psnr(
    autoencoder: Autoencoder,
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    batch_size: int = 64,
) -> float:
    """The mean `psnr` of encoding and decoding the images (N, H, W, 3) at `positions`, in dB."""
    each = []
    for start in range(0, len(positions), batch_size):
        batch = to_tensor(images[positions[start : start + batch_size]]).to(hardware.device())
        each.append(psnr(batch, autoencoder.decode(autoencoder.encode(batch))).cpu())
    return torch.cat(each).mean().item()
