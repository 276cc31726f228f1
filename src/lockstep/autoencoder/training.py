"""Training the project's own autoencoder: a minute on a CPU, so without checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep import device as hardware
from lockstep.autoencoder.kl import KLAutoencoder, KLConfig
from lockstep.errors import LockstepError
from lockstep.pixels import to_tensor
from lockstep.training.batches import INIT, batch_positions, random_numbers
from lockstep.training.learning_rate import factor

_NOISE = 5  # a stream of random numbers beside those of `lockstep.training.batches`
_LOG_EVERY = 50
_WARMUP = 50
# Pictures over which the latents' mean and deviation are taken: 131,072 values a channel at
# latents of 16 x 16.
_MEASURED = 512


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
        """Of a latent's divergence against the sum of its picture's absolute errors."""

    @property
    def seed(self) -> int: ...


Log = Callable[[int, dict[str, float]], None]


def train(
    pictures: NDArray[np.uint8],
    positions: NDArray[np.int64],
    config: KLConfig,
    settings: Settings,
    precision: hardware.Precision,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
    log: Log | None = None,
) -> KLAutoencoder:
    """An autoencoder of the pictures (N, H, W, 3), memory-mapped or not, at `positions`.

    AdamW, warm-up and half a cosine. Every random number comes from (seed, step). `log(step,
    {"loss": ..., "kl": ...})` gets the means over every 50 steps, the KL in nats a latent.

    Raises
    ------
    LockstepError
        If there are fewer pictures than a batch has, the reduction does not divide their size, or
        the loss is not finite.
    """
    _check(pictures, positions, config, settings)
    model = hardware.place(_initial(config, settings.seed)).train()
    optimizer = torch.optim.AdamW(model.parameters(), settings.lr, betas=(0.9, 0.99), fused=True)
    device, steps = hardware.device(), settings.steps
    unread: list[Tensor] = []
    for step in progress(range(steps), steps):
        chosen = batch_positions(settings.seed, step, settings.batch_size, len(positions))
        batch = to_tensor(pictures[positions[chosen]]).to(device)
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
    _normalise(model.eval(), pictures, positions, settings.seed)
    return model


def reconstruction_loss(pictures: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean absolute and mean squared error, and those of the steps between neighbouring pixels.

    (B, 3, H, W) each. The first two alone leave edges soft; the published loss adds a trained
    network's opinion and a discriminator's instead.
    """
    error = reconstructions - pictures
    across, down = error.diff(dim=3), error.diff(dim=2)
    return error.abs().mean() + error.square().mean() + across.abs().mean() + down.abs().mean()


def _check(
    pictures: NDArray[np.uint8],
    positions: NDArray[np.int64],
    config: KLConfig,
    settings: Settings,
) -> None:
    if len(positions) < settings.batch_size:
        raise LockstepError(
            f"autoencoder.batch_size: {settings.batch_size} is more than the {len(positions)} "
            "pictures there are to train on; lower it, or collect more"
        )
    height, width = pictures.shape[1:3]
    if height % config.reduction or width % config.reduction:
        raise LockstepError(
            f"autoencoder: pictures of {height} x {width} pixels cannot be made "
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


@torch.no_grad()
def _normalise(
    model: KLAutoencoder, pictures: NDArray[np.uint8], positions: NDArray[np.int64], seed: int
) -> None:
    """Measure the latents of training pictures, so that `encode` gives mean 0 and variance 1."""
    count = min(_MEASURED, len(positions))
    measured = positions[batch_positions(seed, 0, count, len(positions))]
    means = torch.cat(
        [
            model.posterior(to_tensor(pictures[part]).to(hardware.device())).mean
            for part in np.array_split(measured, math.ceil(count / 64))
        ]
    )
    model.mean.copy_(means.mean((0, 2, 3)))
    # A channel that carries nothing stays what it is.
    model.deviation.copy_(means.std((0, 2, 3)).clamp_min(1e-6))
