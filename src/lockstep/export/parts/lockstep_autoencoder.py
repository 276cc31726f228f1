"""A small autoencoder that was trained for this model: images as latents, and back.

Loaded by the pipeline of this folder. It needs torch and diffusers alone.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class LockstepAutoencoder(ModelMixin, ConfigMixin):
    """Rombach et al. 2022 (arXiv:2112.10752), appendix G, "KL-reg.", without attention.

    Parameters
    ----------
    channels
        Width of each level, finest first.
    latent_channels
        Of the latents.
    layers_per_block
        Residual blocks a level in the encoder; one more in the decoder.
    patch
        Side of the patches of pixels that are folded into channels first.
    norm_groups, norm_eps
        Of every group normalisation.
    """

    mean: Tensor
    deviation: Tensor

    @register_to_config
    def __init__(
        self,
        channels: list[int],
        latent_channels: int,
        layers_per_block: int,
        patch: int,
        norm_groups: int,
        norm_eps: float,
    ) -> None:
        super().__init__()
        norm = norm_groups, norm_eps
        reduction = patch * 2 ** (len(channels) - 1)
        folded, whole = 3 * patch**2, 3 * reduction**2
        moments = 2 * latent_channels
        self.encoder = _Way(folded, channels, moments, layers_per_block, norm, down=True)
        self.encoder.shortcut = nn.Conv2d(whole, latent_channels, 1)
        rising = channels[::-1]
        self.decoder = _Way(latent_channels, rising, folded, layers_per_block + 1, norm, down=False)
        self.decoder.shortcut = nn.Conv2d(latent_channels, whole, 1)
        self.register_buffer("mean", torch.zeros(latent_channels))
        self.register_buffer("deviation", torch.ones(latent_channels))
        self.patch, self.reduction = patch, reduction

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w) of mean 0 and variance 1 in each channel."""
        mean, _ = self.encoder(F.pixel_unshuffle(images, self.patch)).chunk(2, dim=1)
        mean = mean + self.encoder.shortcut(F.pixel_unshuffle(images, self.reduction))
        return (mean - self.mean[:, None, None]) / self.deviation[:, None, None]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W) in [-1, 1]."""
        z = latents * self.deviation[:, None, None] + self.mean[:, None, None]
        images = F.pixel_shuffle(self.decoder(z), self.patch)
        past = F.pixel_shuffle(self.decoder.shortcut(z), self.reduction)
        return (images + past).clamp(-1, 1)


class _Way(nn.Module):
    """A convolution, residual blocks between changes of resolution, and a convolution."""

    def __init__(
        self,
        in_channels: int,
        widths: list[int],
        out_channels: int,
        blocks: int,
        norm: tuple[int, float],
        down: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Residual(widths[0], widths[0], norm) for _ in range(blocks)]
        for before, width in itertools.pairwise(widths):
            layers.append(_Resample(before, down))
            layers += [_Residual(w, width, norm) for w in [before] + [width] * (blocks - 1)]
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.layers = nn.Sequential(*layers)
        self.norm_out = nn.GroupNorm(norm[0], widths[-1], eps=norm[1])
        self.conv_out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.norm_out(self.layers(self.conv_in(x)))))


class _Residual(nn.Module):
    """Two normalised convolutions, added to the input."""

    def __init__(self, in_channels: int, out_channels: int, norm: tuple[int, float]) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(norm[0], in_channels, eps=norm[1])
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(norm[0], out_channels, eps=norm[1])
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class _Resample(nn.Module):
    """Halves height and width by a stride, or doubles them by repeating pixels."""

    def __init__(self, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2 if down else 1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest"))
