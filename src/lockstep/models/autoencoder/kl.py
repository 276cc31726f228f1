"""A small autoencoder with a Gaussian posterior, held near the standard normal one by a KL term.

Rombach et al. 2022 (arXiv:2112.10752), section 3.1 and appendix G, "KL-reg."; made for images of
64 x 64 on a CPU: patches of pixels are folded into channels before the first convolution, so that
no convolution works at full size, and there is no attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.config.networks import KLConfig
from lockstep.models.unet.blocks import Downsample, Upsample
from lockstep.models.unet.norm import group_norm

# Where the posteriors' log variances begin: at 0, as usual, the first hundred steps would see
# little but noise in the latents.
_FIRST_LOG_VARIANCE = -6.0


@dataclass(frozen=True)
class Posterior:
    """q(z | x): independent Gaussians, mean and log variance (B, C, h, w) each, in fp32."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + deviation * noise (Kingma & Welling 2014, arXiv:1312.6114, section 2.4)."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def kl(self) -> Tensor:
        """(B,): the divergence from N(0, 1), summed over a latent, in nats (ibid., appendix B)."""
        each = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * each.sum((1, 2, 3))


class KLAutoencoder(nn.Module):
    """Convolutional encoder and decoder, for images of any size that `reduction` divides.

    `mean` and `deviation` (C,) are those of the posteriors' means over training images; `encode`
    brings each channel to mean 0 and variance 1 by them. A scaling factor for all channels
    together, as published, would leave the few channels of a small autoencoder of unlike variance.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        self.register_buffer("mean", torch.zeros(config.latent_channels))
        self.register_buffer("deviation", torch.ones(config.latent_channels))

    @property
    def channels(self) -> int:
        return self.config.latent_channels

    @property
    def reduction(self) -> int:
        return self.config.reduction

    def posterior(self, images: Tensor) -> Posterior:
        """(B, 3, H, W) in [-1, 1] -> what the encoder believes of their latents.

        Raises `ValueError` of one line if the reduction does not divide height and width.
        """
        height, width = images.shape[2:]
        if height % self.reduction or width % self.reduction:
            raise ValueError(
                f"images are {height} x {width} pixels: give multiples of {self.reduction}"
            )
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        # The bounds of the published code: beyond them exp() leaves fp32's range.
        return Posterior(mean, log_variance.clamp(-30, 20))

    def reconstruct(self, z: Tensor) -> Tensor:
        """(B, C, h, w), as a posterior has them -> (B, 3, H, W) in fp32, not clamped."""
        return self.decoder(z).float()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w), the posterior's mean, normalised."""
        return (self.posterior(images).mean - _pixels(self.mean)) / _pixels(self.deviation)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w), normalised -> (B, 3, H, W) in [-1, 1]."""
        z = latents * _pixels(self.deviation) + _pixels(self.mean)
        return self.reconstruct(z).clamp(-1, 1)


class _Residual(nn.Module):
    """Two normalised convolutions, added to the input (He et al. 2016); a U-Net's without time."""

    def __init__(self, in_channels: int, out_channels: int, config: KLConfig) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.norm_groups, in_channels, eps=config.norm_eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(config.norm_groups, out_channels, eps=config.norm_eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        h = self.conv1(group_norm(self.norm1, x, silu=True))
        h = self.conv2(group_norm(self.norm2, h, silu=True))
        return self.shortcut(x) + h


def _residuals(
    in_channels: int, out_channels: int, count: int, config: KLConfig
) -> list[nn.Module]:
    widths = [in_channels] + [out_channels] * (count - 1)
    return [_Residual(width, out_channels, config) for width in widths]


class _Encoder(nn.Module):
    """(B, 3, H, W) -> (B, 2 C, h, w): means, then log variances.

    Like the decoder it has a linear way past all layers, as that of Chen et al. 2024 (DC-AE,
    arXiv:2410.10733), but learnt: see `lockstep.training.autoencoder`. The layers' last
    convolutions begin at zero.
    """

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.patch, self.reduction = config.patch, config.reduction
        channels, moments = config.channels, 2 * config.latent_channels
        layers: list[nn.Module] = []
        for finer, width in zip((None, *channels), channels, strict=False):
            if finer is not None:
                layers.append(Downsample(finer, padding=1))
            layers += _residuals(finer or width, width, config.layers_per_block, config)
        self.conv_in = nn.Conv2d(3 * config.patch**2, channels[0], 3, padding=1)
        self.layers = nn.Sequential(*layers)
        self.norm_out = nn.GroupNorm(config.norm_groups, channels[-1], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(channels[-1], moments, 3, padding=1)
        self.shortcut = nn.Conv2d(3 * config.reduction**2, config.latent_channels, 1)
        _make_zero(self.conv_out)
        with torch.no_grad():
            assert self.conv_out.bias is not None
            self.conv_out.bias[config.latent_channels :] = _FIRST_LOG_VARIANCE

    def forward(self, x: Tensor) -> Tensor:
        h = self.layers(self.conv_in(F.pixel_unshuffle(x, self.patch)))
        mean, log_variance = self.conv_out(group_norm(self.norm_out, h, silu=True)).chunk(2, dim=1)
        mean = mean + self.shortcut(F.pixel_unshuffle(x, self.reduction))
        return torch.cat((mean, log_variance), dim=1)


class _Decoder(nn.Module):
    """(B, C, h, w) -> (B, 3, H, W)."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.patch, self.reduction = config.patch, config.reduction
        rising = config.channels[::-1]
        layers: list[nn.Module] = []
        for coarser, width in zip((None, *rising), rising, strict=False):
            if coarser is not None:
                layers.append(Upsample(coarser))
            layers += _residuals(coarser or width, width, config.layers_per_block + 1, config)
        self.conv_in = nn.Conv2d(config.latent_channels, rising[0], 3, padding=1)
        self.layers = nn.Sequential(*layers)
        self.norm_out = nn.GroupNorm(config.norm_groups, rising[-1], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(rising[-1], 3 * config.patch**2, 3, padding=1)
        self.shortcut = nn.Conv2d(config.latent_channels, 3 * config.reduction**2, 1)
        _make_zero(self.conv_out)

    def forward(self, z: Tensor) -> Tensor:
        h = self.layers(self.conv_in(z))
        h = self.conv_out(group_norm(self.norm_out, h, silu=True))
        return F.pixel_shuffle(h, self.patch) + F.pixel_shuffle(self.shortcut(z), self.reduction)


def _make_zero(layer: nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _pixels(channels: Tensor) -> Tensor:
    return channels[:, None, None]
