"""What every autoencoder is for those who use it, and the one that does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Autoencoder(Protocol):
    """Images to latents and back, without gradients; on its own device, in fp32.

    Latents have about unit variance in each channel, whatever the kind: the mean of the posterior
    times a scaling factor (Rombach et al. 2022, appendix G), so that a noise schedule made for
    images suits them.
    """

    @property
    def channels(self) -> int:
        """C of the latents."""

    @property
    def reduction(self) -> int:
        """H / h and W / w: heights and widths of images are multiples of it."""

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w)."""

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W) in [-1, 1]."""


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
