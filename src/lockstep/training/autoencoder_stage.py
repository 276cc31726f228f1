"""The stage: the autoencoder that params.yaml asks for, and how much of an image it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.derived import fields_of
from lockstep.config.networks import KLConfig
from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.images import grid
from lockstep.core.pixels import to_bytes, to_tensor
from lockstep.data.dataset import Dataset
from lockstep.models.autoencoder.interface import Autoencoder
from lockstep.models.autoencoder.pixels import Pixels
from lockstep.models.autoencoder.pretrained import fetch
from lockstep.training import autoencoder

_SHOWN, _MEASURED = 8, 512


def make(
    params: Params,
    data: Dataset,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Autoencoder:
    """None, one that is trained on the generator's training images, or a pretrained one.

    Raises
    ------
    LockstepError
        If there are too few images, the pretrained one cannot be had, or it does not fit them.
    """
    settings = params.autoencoder
    match settings.kind:
        case "pixels":
            made: Autoencoder = Pixels()
        case "kl":
            precision = hardware.resolve_precision(settings.precision, "autoencoder.precision")
            train = data.indices("train")
            made = autoencoder.train(
                data.images,
                train,
                KLConfig(**fields_of(KLConfig, settings)),
                settings,
                precision,
                progress,
            )
        case "pretrained":
            assert settings.name is not None  # params.yaml was checked for it
            made = hardware.place(
                fetch(str(paths.folder_or_name(settings.name)), settings.subfolder, settings.sha256)
            )
    side, multiple = data.images.shape[1], made.reduction * params.model.size_multiple
    if side % multiple:
        raise LockstepError(
            f"autoencoder: images of {side} pixels are no multiple of {multiple}, as its "
            f"reduction ({made.reduction}) and the model's levels want; collect others"
        )
    return made


def measure(
    autoencoder: Autoencoder, data: Dataset
) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
    """Its peak signal-to-noise ratio on held-out images in dB, `psnr`, and a sheet of some.

    The sheet has images above and what they are decoded to below. There is neither of pixels,
    which lose nothing. Without held-out images those of the training are taken.
    """
    if isinstance(autoencoder, Pixels):
        return {}, None
    held_out = data.indices("validation")
    positions = (held_out if len(held_out) else data.indices("train"))[:_MEASURED]
    shown = data.images[positions[:_SHOWN]]
    again = autoencoder.decode(autoencoder.encode(to_tensor(shown).to(hardware.device())))
    sheet = grid(np.concatenate([shown, to_bytes(again)]), per_row=len(shown))
    return {"psnr": reconstruction_psnr(autoencoder, data.images, positions)}, sheet


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
