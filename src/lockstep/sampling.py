"""Drawing pictures from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

import torch
from torch import Tensor

from lockstep import device as hardware
from lockstep import distributed
from lockstep.diffusion import (
    Callback,
    Denoise,
    Denoiser,
    Guidance,
    PictureNoise,
    StepInfo,
    ddim,
    ddpm,
    dpmpp_2m,
    timesteps,
)
from lockstep.generator import Description, Generator
from lockstep.params import Sample


@torch.inference_mode()
def sample(
    model: Generator,
    description: Description,
    settings: Sample,
    labels: Tensor,
    *,
    seed: int,
    indices: Sequence[int] | None = None,
    callback: Callback | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """One picture for each row of `labels` (N, L) multi-hot -> (N, 3, size, size) in [-1, 1].

    Picture i gets the noise of (seed, indices[i]), by default (seed, i), whatever the batch size.
    `callback` sees each step of each batch; `progress` is told the pictures done with a step.
    """
    device = hardware.device()
    numbers = list(range(len(labels))) if indices is None else list(indices)
    batches = [torch.empty((0, 3, description.size, description.size))]
    for start in range(0, len(labels), settings.batch_size):
        stop = start + settings.batch_size
        condition = labels[start:stop].to(device)

        def on_step(info: StepInfo, count: int = len(condition)) -> None:
            progress(count)
            if callback is not None:
                callback(info)

        denoise = _denoiser(model, description, settings, condition)
        shape = (3, description.size, description.size)
        noise = PictureNoise(seed, numbers[start:stop], shape, device)
        batches.append(_run(denoise, description, settings, noise, on_step).float().cpu())
    return torch.cat(batches).contiguous()


def sample_together(
    model: Generator,
    description: Description,
    settings: Sample,
    labels: Tensor,
    *,
    seed: int,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """`sample`, of which each process draws its share; all of them get all pictures."""
    own = distributed.share(len(labels))
    indices = range(len(labels))[own]
    drawn = sample(
        model, description, settings, labels[own], seed=seed, indices=indices, progress=progress
    )
    return distributed.gather(drawn, len(labels))


def denoising_strip(
    model: Generator, description: Description, settings: Sample, labels: Tensor, *, seed: int
) -> Tensor:
    """One picture on its way from noise to clear -> (settings.strip, 3, size, size).

    `labels` is (1, L). The moments are spread evenly over the steps; with fewer steps than
    pictures asked for, every step is one.
    """
    states: list[Tensor] = []
    final = sample(
        model,
        description,
        settings,
        labels,
        seed=seed,
        callback=lambda info: states.append(info.x.float().cpu()),
    )
    states.append(final)
    count = min(settings.strip, len(states))
    chosen = torch.linspace(0, len(states) - 1, count).round().long()
    return torch.cat([states[i] for i in chosen.tolist()])


def _denoiser(
    model: Generator, description: Description, settings: Sample, condition: Tensor
) -> Denoise:
    def network(labels: Tensor, x: Tensor, t: Tensor) -> Tensor:
        with hardware.autocast(description.precision):
            return model(x, t, labels)

    def bound(labels: Tensor) -> Denoiser:
        return Denoiser(partial(network, labels), description.schedule, description.prediction)

    if description.labels == 0:
        return bound(condition)
    return Guidance(
        bound(condition),
        bound(torch.zeros_like(condition)),
        settings.guidance_scale,
        settings.guidance_interval,
    )


def _run(
    denoise: Denoise,
    description: Description,
    settings: Sample,
    noise: PictureNoise,
    callback: Callback,
) -> Tensor:
    schedule = description.schedule
    levels = timesteps(schedule.timesteps, settings.steps, settings.spacing)
    x = noise().contiguous(memory_format=torch.channels_last)
    common: _Common = {"clip": settings.clip, "callback": callback}
    match settings.sampler:
        case "ddpm":
            variance = settings.variance
            return ddpm(denoise, x, schedule, levels, noise=noise, variance=variance, **common)
        case "ddim":
            return ddim(denoise, x, schedule, levels, noise=noise, eta=settings.eta, **common)
        case "dpmpp_2m":
            return dpmpp_2m(denoise, x, schedule, levels, **common)


class _Common(TypedDict):
    clip: float | None
    callback: Callback
