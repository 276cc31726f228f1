"""No autoencoder: the images are their own latents."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """The identity; it scales nothing, since diffusion on pixels takes them as they are."""

    channels: int = 3
    reduction: int = 1

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], as they are."""
        return images

    def decode(self, latents: Tensor) -> Tensor:
        """(B, 3, H, W), clamped to [-1, 1]."""
        return latents.clamp(-1, 1)
