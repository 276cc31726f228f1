"""Sampling images from a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lockstep.config.schema import Sample
from lockstep.core import device as hardware
from lockstep.core import distributed, hashing
from lockstep.core.errors import LockstepError
from lockstep.diffusion import (
    Callback,
    ClassifierGuidance,
    Denoise,
    Denoiser,
    Guidance,
    ImageNoise,
    Noise,
    StepInfo,
    ddim,
    ddpm,
    dpmpp_2m,
    euler,
    heun,
    timesteps,
)
from lockstep.models import autoencoder, generator, noisy_classifier
from lockstep.models.autoencoder import Autoencoder, Pixels
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, Generator
from lockstep.models.noisy_classifier import Config, NoisyClassifier
from lockstep.models.text import ScratchConfig, tokenizer
from lockstep.sampling.beginning import Edit, NoiseOf

PIXELS = Pixels()
_FRAMES = 19


@dataclass(frozen=True)
class Trained:
    """A generator with all that sampling takes: the autoencoder makes images of its latents.

    `guide` has other weights, for autoguidance; `classifier` is that of classifier guidance.
    """

    model: Generator
    description: Description
    autoencoder: Autoencoder = PIXELS
    guide: Generator | None = None
    classifier: NoisyClassifier | None = None


def load(
    folder: Path,
    weights: str | int,
    guidance_weights: str | int | None = None,
    classifier: Path | None = None,
) -> Trained:
    """A trained model's folder, on the device, and the folder of a noisy classifier.

    Raises `LockstepError` on a bad file, or if the two do not fit each other.
    """
    model, description = generator.load(folder, weights)
    guide = None if guidance_weights is None else generator.load(folder, guidance_weights)[0]
    is_latent = description.reduction > 1 or description.unet.in_channels != 3
    has_file = (folder / autoencoder.DESCRIPTION).exists()
    decoder = autoencoder.load(folder) if is_latent or has_file else PIXELS
    judge = None if classifier is None else _classifier(classifier, folder, description)
    return Trained(model, description, decoder, guide, judge)


def _classifier(folder: Path, model: Path, description: Description) -> NoisyClassifier:
    if not (folder / noisy_classifier.DESCRIPTION).exists():
        raise LockstepError(
            f"{folder}: missing; `dvc pull {folder}` or `dvc repro` brings it, or set "
            "sample.classifier_scale to 0"
        )
    found = noisy_classifier.load(folder)
    if found is None:
        raise LockstepError(
            f"{folder}: has no noisy classifier; set noisy_classifier.steps, or "
            "sample.classifier_scale to 0"
        )
    inputs, length, file = description.labels, None, None
    if isinstance(text := description.text, ScratchConfig):
        inputs, length, file = text.words, text.length, hashing.sha256(model / tokenizer.FILE)
    its = found.config
    right = Config(inputs, length, file, description.shape, its.width, description.schedule)
    if its != right:
        raise LockstepError(
            f"{folder}: is for other labels, words, images or noise levels than the model; train "
            "both anew, or set sample.classifier_scale to 0"
        )
    return found


# Not inference_mode: what FSDP gathers for the first time in it could never be changed again.
@torch.no_grad()
def sample(
    trained: Trained,
    settings: Sample,
    conditions: Conditions,
    *,
    seed: int,
    indices: Sequence[int] | None = None,
    noise_of: NoiseOf | None = None,
    edit: Edit | None = None,
    callback: Callback | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """One image for each of N `conditions` -> (N, 3, size, size) in [-1, 1].

    Image i gets the noise of (seed, indices[i]), by default (seed, i), whatever the batch size, or
    that of `noise_of`; all begin from the image of `edit`, if given. `callback` sees each step of
    each batch; `progress` is told the images done with a step.
    """
    device, description = hardware.device(), trained.description
    numbers = list(range(len(conditions))) if indices is None else list(indices)
    batches = [torch.empty((0, 3, description.size, description.size))]
    for start in range(0, len(conditions), settings.batch_size):
        stop = start + settings.batch_size
        condition = conditions[start:stop].to(device)

        def on_step(info: StepInfo, count: int = len(condition)) -> None:
            progress(count)
            if callback is not None:
                callback(info)

        denoise = _denoiser(trained, settings, condition)
        own = numbers[start:stop]
        noise = noise_of(own) if noise_of else ImageNoise(seed, own, description.shape, device)
        latents = _run(denoise, trained, settings, noise, edit, on_step).float()
        batches.append(trained.autoencoder.decode(latents).cpu())
    return torch.cat(batches).contiguous()


def sample_together(
    trained: Trained,
    settings: Sample,
    conditions: Conditions,
    *,
    seed: int,
    first: int = 0,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """`sample` of the images `first` and up, of which each process makes its share.

    All of them get all images.
    """
    own = distributed.share(len(conditions))
    indices = range(first, first + len(conditions))[own]
    images = sample(
        trained, settings, conditions[own], seed=seed, indices=indices, progress=progress
    )
    return distributed.gather(images, len(conditions))


def moments(steps: int, count: int) -> list[int]:
    """`count` numbers of states from 0, the noise, to `steps`, the image, evenly spread.

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
    trained: Trained,
    settings: Sample,
    conditions: Conditions,
    *,
    seed: int,
    at: Sequence[int] | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Tensor:
    """Images on their way from noise to clear -> (R, M, 3, size, size) in [-1, 1].

    Each of R `conditions` gives a strip, that of the image which `sample_together` gives
    for it. It has the M states `at`, ascending and the last one `settings.steps`: by default
    `moments` of `settings.strip`. Each process makes its share, and all of them get all strips.
    """
    at = moments(settings.steps, settings.strip) if at is None else at
    own = distributed.share(len(conditions))
    # Each state's batches, one after the other.
    states: dict[int, list[Tensor]] = {moment: [] for moment in at}

    def keep(info: StepInfo) -> None:
        if info.index in states:
            states[info.index].append(trained.autoencoder.decode(info.x.float()).cpu())

    images = sample(
        trained,
        settings,
        conditions[own],
        seed=seed,
        indices=range(len(conditions))[own],
        callback=keep,
        progress=progress,
    )
    states[settings.steps].append(images)
    none = images[:0]  # a process may have no share
    strips = torch.stack([torch.cat([none, *states[moment]]) for moment in at], dim=1)
    return distributed.gather(strips, len(conditions))


def sample_by_batches(
    trained: Trained,
    settings: Sample,
    conditions: Conditions,
    *,
    seed: int,
    progress: Callable[[int], object] = lambda count: None,
) -> Iterator[tuple[int, Tensor]]:
    """`sample_together` with the memory of one batch: (number of its first image, images)."""
    size = settings.batch_size * distributed.size()
    for first in range(0, len(conditions), size):
        batch = conditions[first : first + size]
        images = sample_together(
            trained, settings, batch, seed=seed, first=first, progress=progress
        )
        yield first, images


def _denoiser(trained: Trained, settings: Sample, condition: Conditions) -> Denoise:
    description = trained.description

    def network(model: Generator, conditions: Conditions, x: Tensor, t: Tensor) -> Tensor:
        with hardware.autocast(description.precision):
            return model(x, t, conditions)

    def bound(model: Generator, conditions: Conditions) -> Denoiser:
        predict = partial(network, model, conditions)
        return Denoiser(predict, description.schedule, description.prediction)

    better = bound(trained.model, condition)
    if trained.guide is not None:
        other = bound(trained.guide, condition)
    elif description.is_conditional:
        other = bound(trained.model, condition.null())
    else:
        return better
    guided = Guidance(
        better,
        other,
        settings.guidance_scale,
        settings.guidance_interval,
        settings.guidance_rescale,
    )
    if (classifier := trained.classifier) is None:
        return guided

    def log_likelihood(x: Tensor, t: Tensor) -> Tensor:
        values = condition.values.clone()  # they may be from inference mode
        # Where nothing is said, or nothing that it knows, no image is likelier than another.
        said = condition.given & classifier.has_known(values)
        return classifier.log_likelihood(x.float(), t, values) * said

    return ClassifierGuidance(
        guided, log_likelihood, settings.classifier_scale, settings.classifier_interval
    )


def _run(
    denoise: Denoise,
    trained: Trained,
    settings: Sample,
    noise: Noise,
    edit: Edit | None,
    callback: Callback,
) -> Tensor:
    schedule, clip = trained.description.schedule, settings.clip
    x = noise()
    if edit is None:
        levels = timesteps(schedule.timesteps, settings.steps, settings.spacing)
    else:
        levels = edit.levels(schedule, settings)
        x = edit.noised(x, levels[0], schedule, trained.autoencoder)
    x = x.contiguous(memory_format=torch.channels_last)
    start = (denoise, x, schedule, levels)
    match settings.sampler:
        case "ddpm":
            variance = settings.variance
            return ddpm(*start, noise=noise, variance=variance, clip=clip, callback=callback)
        case "ddim":
            return ddim(*start, noise=noise, eta=settings.eta, clip=clip, callback=callback)
        case "dpmpp_2m":
            return dpmpp_2m(*start, clip=clip, callback=callback)
        case "euler":
            return euler(*start, clip=clip, callback=callback)
        case "heun":
            return heun(*start, clip=clip, callback=callback)
