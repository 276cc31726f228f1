"""Training the project's own autoencoder: a minute on a CPU, so without checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError
from lockstep.core.pixels import to_tensor
from lockstep.models.autoencoder.kl import KLAutoencoder, KLConfig
from lockstep.training.batches import INIT, batch_positions, random_numbers
from lockstep.training.learning_rate import factor

_NOISE = 5  # a stream of random numbers beside those of `lockstep.training.batches`
_LOG_EVERY = 50
_WARMUP = 50
_SQUARED_WEIGHT = 5.0
# What patches, and the latents' mean and deviation, are measured on: this many pixels, which are
# 512 images of 64 x 64, but no fewer than these images.
_MEASURED_PIXELS, _MEASURED_IMAGES = 2**21, 64
# Deviation of a component, of pixels in [-1, 1], below which it is rounding and not scaled up.
_LEAST_DEVIATION = 0.01


class Settings(Protocol):
    """The part of params.yaml's `autoencoder` that training reads."""

    @property
    def lr(self) -> float:
        """The peak of the learning rate."""

    @property
    def steps(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def kl_weight(self) -> float:
        """Of a latent's divergence against the sum of its image's absolute errors."""

    @property
    def seed(self) -> int: ...


Log = Callable[[int, dict[str, float]], None]


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
    to be scaled. Exact repetition wants `lockstep.core.device.make_deterministic` before.

    Raises
    ------
    LockstepError
        If there are fewer images than a batch has, the reduction does not divide their size, or
        the loss is not finite.
    """
    _check(images, positions, config, settings)
    # The same images measure the patches before and the latents after.
    few = _some(images, positions, settings.seed)
    model = _initial(config, settings.seed)
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
            noise = _noise(settings.seed, step, posterior.mean)
            reconstruction = model.reconstruct(posterior.sample(noise))
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


def _check(
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    config: KLConfig,
    settings: Settings,
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


def _initial(config: KLConfig, seed: int) -> KLAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(int(random_numbers(seed, INIT, 0).integers(2**32)))
        return KLAutoencoder(config)


def _noise(seed: int, step: int, like: Tensor) -> Tensor:
    noise = random_numbers(seed, _NOISE, step).standard_normal(like.shape, np.float32)
    return torch.from_numpy(noise).to(like.device)


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
    wanted = max(_MEASURED_IMAGES, _MEASURED_PIXELS // (height * width))
    count = min(wanted, len(positions))
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
