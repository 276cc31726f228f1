"""The autoencoder that params.yaml asks for, trained or not, and how much of an image it keeps.

Training the project's own takes a minute on a CPU, so there are no checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.networks import KLConfig, fields_of
from lockstep.config.schema import Autoencoder as Settings
from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError
from lockstep.core.images import grid
from lockstep.core.pixels import to_bytes, to_tensor
from lockstep.data.dataset import Dataset
from lockstep.models.autoencoder.interface import Autoencoder, Pixels
from lockstep.models.autoencoder.kl import KLAutoencoder
from lockstep.models.autoencoder.pretrained import fetch
from lockstep.training.batches import INIT, batch_positions, random_numbers
from lockstep.training.learning_rate import factor

_NOISE = 5  # a stream of random numbers beside those of `lockstep.training.batches`
_LOG_EVERY = 50
_WARMUP = 50
_SHOWN, _MEASURED = 8, 512  # held-out images: on the sheet, and for its psnr
_SQUARED_WEIGHT = 5.0
# What patches, and the latents' mean and deviation, are measured on: this many pixels, which are
# 512 images of 64 x 64, but no fewer than these images.
_MEASURED_PIXELS, _MEASURED_IMAGES = 2**21, 64
# Deviation of a component, of pixels in [-1, 1], below which it is rounding and not scaled up.
_LEAST_DEVIATION = 0.01


Log = Callable[[int, dict[str, float]], None]


def make(
    params: Params, data: Dataset, progress: Callable[[Iterable[Any], int], Iterable[Any]]
) -> Autoencoder:
    """None, one that is trained on the generator's training images, or a pretrained one.

    Raises `LockstepError` if there are too few images, the pretrained one cannot be had, or it does
    not fit them.
    """
    settings = params.autoencoder
    match settings.kind:
        case "pixels":
            made: Autoencoder = Pixels()
        case "kl":
            precision = hardware.resolve_precision(settings.precision, "autoencoder.precision")
            positions = data.indices("train")
            made = train(
                data.images,
                positions,
                KLConfig(**fields_of(KLConfig, settings)),
                settings,
                precision,
                progress,
            )
        case "pretrained":
            assert settings.name is not None  # params.yaml was checked for it
            # As it is given: what is made names its origin, and may move with the project.
            made = hardware.place(fetch(settings.name, settings.subfolder, settings.sha256))
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


def train(
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    config: KLConfig,
    settings: Settings,
    precision: hardware.Precision,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
    log: Log | None = None,
) -> KLAutoencoder:
    """An autoencoder of the images (N, H, W, 3), memory-mapped or not, at `positions`.

    It begins as the best linear autoencoder; then AdamW, warm-up and half a cosine. Every random
    number comes from (seed, step). `log(step, {"loss": ..., "kl": ...})` gets the means over every
    50 steps, the KL in nats a latent. The precision is fp32 or bf16: for fp16 the loss would have
    to be scaled. Exact repetition wants `lockstep.core.device.make_deterministic` before. Raises
    `LockstepError` if there are fewer images than a batch has, the reduction does not divide their
    size, or the loss is not finite.
    """
    _check(images, positions, config, settings)
    # The same images measure the patches before and the latents after.
    few = _some(images, positions, settings.seed)
    with torch.random.fork_rng():
        torch.manual_seed(int(random_numbers(settings.seed, INIT, 0).integers(2**32)))
        model = KLAutoencoder(config)
    begin_linear(model, few)
    model = hardware.place(model).train()
    optimizer = torch.optim.AdamW(model.parameters(), settings.lr, betas=(0.9, 0.99), fused=True)
    device, steps = hardware.device(), settings.steps
    unread: list[Tensor] = []
    for step in progress(range(steps), steps):
        chosen = batch_positions(settings.seed, step, settings.batch_size, len(positions))
        batch = to_tensor(images[positions[chosen]]).to(device)
        rate = factor(step, steps=steps, warmup=min(_WARMUP, steps // 10), decay="cosine")
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * rate
        with hardware.autocast(precision):
            posterior = model.posterior(batch)
            random = random_numbers(settings.seed, _NOISE, step)
            noise = torch.from_numpy(random.standard_normal(posterior.mean.shape, np.float32))
            reconstruction = model.reconstruct(posterior.sample(noise.to(device)))
        kl = posterior.kl().mean()
        loss = (
            reconstruction_loss(batch, reconstruction) + settings.kl_weight * kl / batch[0].numel()
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        unread.append(torch.stack((loss, kl)).detach())
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == steps:
            _read(unread, step + 1, log)
    _normalise(model.eval(), few)
    return model


@torch.no_grad()
def begin_linear(model: KLAutoencoder, images: Tensor) -> None:
    """Make `model` the linear autoencoder of the patches of `images` (N, 3, H, W) in [-1, 1].

    Its squared error is the least of all linear ones: principal components (Baldi & Hornik 1989).
    On ray-cast scenes, 4 numbers for 4 x 4 pixels, it reaches 28 dB at once; convolutions that
    begin at random take hundreds of steps to tell four colours apart.

    Means of posteriors become the components, scaled to variance 1, and the layers beside the
    shortcuts add nothing as yet.
    """
    patches = F.pixel_unshuffle(images, model.reduction).transpose(0, 1).flatten(1).double()
    mean = patches.mean(1)
    variances, vectors = torch.linalg.eigh(torch.cov(patches))
    count = min(model.channels, len(mean))
    components = vectors[:, -count:]
    # Either sign would do: the largest entry is positive, on every machine.
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    components = components * largest.sign()
    deviations = variances[-count:].clamp_min(_LEAST_DEVIATION**2).sqrt()

    encode, decode = model.encoder.shortcut, model.decoder.shortcut
    assert encode.bias is not None and decode.bias is not None
    for parameter in (*encode.parameters(), *decode.parameters()):
        parameter.zero_()
    encode.weight[:count, :, 0, 0] = (components / deviations).T.float()
    encode.bias[:count] = (-(mean @ components) / deviations).float()
    decode.weight[:, :count, 0, 0] = (components * deviations).float()
    decode.bias.copy_(mean)


def reconstruction_loss(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean absolute error and, by a weight of 5, mean squared error, of (B, 3, H, W) each.

    The published loss adds a trained network's opinion and a discriminator's, which small images
    do without. On ray-cast scenes this one reached 34.5 dB in 150 steps (32.5 in the differences
    of neighbouring pixels, so at the edges); a squared error of weight 1 and the absolute errors
    of those differences, 31.6 (30.7) in 140.
    """
    error = reconstructions - images
    return error.abs().mean() + _SQUARED_WEIGHT * error.square().mean()


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


def _check(
    images: NDArray[np.uint8], positions: NDArray[np.int64], config: KLConfig, settings: Settings
) -> None:
    if len(positions) < settings.batch_size:
        raise LockstepError(
            f"autoencoder.batch_size: {settings.batch_size} is more than the {len(positions)} "
            "images there are to train on; lower it, or collect more"
        )
    height, width = images.shape[1:3]
    if height % config.reduction or width % config.reduction:
        raise LockstepError(
            f"autoencoder: images of {height} x {width} pixels cannot be made "
            f"{config.reduction} times smaller; set autoencoder.patch and autoencoder.channels so "
            "that patch * 2 ** (levels - 1) divides both"
        )


def _read(unread: list[Tensor], step: int, log: Log | None) -> None:
    """Losses that are still on the device, all at once: reading each would hold it up."""
    losses, kls = torch.stack(unread).T.tolist()
    for i, loss in enumerate(losses):
        if not math.isfinite(loss):
            raise LockstepError(
                f"the autoencoder's loss is {loss} at step {step - len(losses) + i + 1}; lower "
                "autoencoder.lr"
            )
    if log is not None:
        log(step, {"loss": fmean(losses), "kl": fmean(kls)})
    unread.clear()


def _some(images: NDArray[np.uint8], positions: NDArray[np.int64], seed: int) -> Tensor:
    height, width = images.shape[1:3]
    enough = max(_MEASURED_IMAGES, _MEASURED_PIXELS // (height * width))
    count = min(enough, len(positions))
    return to_tensor(images[positions[batch_positions(seed, 0, count, len(positions))]])


@torch.no_grad()
def _normalise(model: KLAutoencoder, images: Tensor) -> None:
    """So that `encode` gives mean 0 and variance 1, as measured on training images."""
    means = torch.cat(
        [model.posterior(part.to(hardware.device())).mean for part in images.split(16)]
    )
    model.mean.copy_(means.mean((0, 2, 3)))
    # A channel that carries nothing stays what it is.
    model.deviation.copy_(means.std((0, 2, 3)).clamp_min(1e-6))
