"""Drawing pictures from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

_FRAMES = 19


# Not inference_mode: what FSDP gathers for the first time in it could never be changed again.
@torch.no_grad()
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
    first: int = 0,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """`sample` of the pictures `first` and up, of which each process draws its share.

    All of them get all pictures.
    """
    own = distributed.share(len(labels))
    indices = range(first, first + len(labels))[own]
    drawn = sample(
        model, description, settings, labels[own], seed=seed, indices=indices, progress=progress
    )
    return distributed.gather(drawn, len(labels))


def moments(steps: int, count: int) -> list[int]:
    """`count` numbers of states from 0, the noise, to `steps`, the picture, evenly spread.

    With fewer states than that, it is all of them.
    """
    return torch.linspace(0, steps, min(count, steps + 1)).round().long().tolist()


def frames(settings: Sample) -> list[int]:
    """The moments of an animation: a strip's, and between each two of them evenly some more.

    With those it has up to 19, unless the strip alone has more.
    """
    gaps = settings.strip - 1
    finer = max(1, (_FRAMES - 1) // gaps) * gaps
    strip = moments(settings.steps, settings.strip)
    return sorted({*strip, *moments(settings.steps, finer + 1)})


def denoising_strips(
    model: Generator,
    description: Description,
    settings: Sample,
    labels: Tensor,
    *,
    seed: int,
    at: Sequence[int] | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """Pictures on their way from noise to clear -> (R, M, 3, size, size).

    Each row of `labels` (R, L) gives a strip, that of the picture which `sample_together` draws
    for it. It has the M states `at`, ascending and the last one `settings.steps`: by default
    `moments` of `settings.strip`. Each process draws its share, and all of them get all strips.
    """
    at = moments(settings.steps, settings.strip) if at is None else at
    own = distributed.share(len(labels))
    # Each state's batches, one after the other.
    states: dict[int, list[Tensor]] = {moment: [] for moment in at}

    def keep(info: StepInfo) -> None:
        if info.index in states:
            states[info.index].append(info.x.float().cpu())

    drawn = sample(
        model,
        description,
        settings,
        labels[own],
        seed=seed,
        indices=range(len(labels))[own],
        callback=keep,
        progress=progress,
    )
    states[settings.steps].append(drawn)
    none = drawn[:0]  # a process may have no share
    strips = torch.stack([torch.cat([none, *states[moment]]) for moment in at], dim=1)
    return distributed.gather(strips, len(labels))


def sample_by_batches(
    model: Generator,
    description: Description,
    settings: Sample,
    labels: Tensor,
    *,
    seed: int,
    progress: Callable[[int], object] = lambda count: None,
) -> Iterator[tuple[int, Tensor]]:
    """`sample_together` with the memory of one batch: (number of its first picture, pictures)."""
    size = settings.batch_size * distributed.size()
    for first in range(0, len(labels), size):
        yield (
            first,
            sample_together(
                model,
                description,
                settings,
                labels[first : first + size],
                seed=seed,
                first=first,
                progress=progress,
            ),
        )


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
