"""What a step computes with: images, noise, levels and conditions, all from (seed, step).

Noise comes from (seed, step, place in the batch): a process draws that of its own images alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.schema import Diffusion, Params, Train
from lockstep.config.weights import sigma_rel_of
from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.errors import LockstepError
from lockstep.core.pixels import to_tensor
from lockstep.data.dataset import Dataset
from lockstep.diffusion.noise import ImageNoise
from lockstep.models import post_hoc
from lockstep.models.conditions import Conditions
from lockstep.models.text.tokenizer import forget

# Streams of random numbers that must never meet: (seed, stream, index) seeds a generator.
INIT, _ORDER, _STEP, _VALIDATION, DROPOUT, _NOISE, _VALIDATION_NOISE = range(7)
_VALIDATION_IMAGES = 256
_VALIDATION_BATCH = 64


@dataclass(frozen=True)
class Batch:
    """x0 and noise (B, C, H, W); t (B,) in [0, T); the conditions of the B images.

    x0 is images in [-1, 1], or latents of about unit variance.
    """

    x0: Tensor
    noise: Tensor
    t: Tensor
    condition: Conditions


@dataclass(frozen=True)
class _Draw:
    """Images before they are tensors; `seen` is bytes (B, H, W, 3), or latents (B, C, H, W)."""

    seen: NDArray[np.generic]
    noise: Tensor
    t: NDArray[np.int64]
    condition: NDArray[np.generic]
    given: NDArray[np.bool_]

    def batch(self, part: slice = slice(None)) -> Batch:
        """A part of them on the device."""
        device = hardware.device()
        t, values, given = (
            torch.from_numpy(array[part]) for array in (self.t, self.condition, self.given)
        )
        return Batch(
            x0_of(self.seen[part]).to(device),
            self.noise[part].to(device, memory_format=torch.channels_last),
            t.to(device),
            Conditions(values, given).to(device),
        )


def x0_of(seen: NDArray[np.generic]) -> Tensor:
    """Bytes (B, H, W, 3) as images in [-1, 1], latents as they are; (B, C, H, W) in fp32."""
    if seen.dtype == np.uint8:
        return to_tensor(seen.view(np.uint8))
    return torch.from_numpy(seen).float().contiguous(memory_format=torch.channels_last)


def check(params: Params, data: Dataset) -> None:
    """Whether the data can be trained on as params.yaml asks. Raises `LockstepError` if not."""
    settings, images = params.train, len(data.indices("train"))
    if settings.batch_size > images:
        raise LockstepError(
            f"train.batch_size: {settings.batch_size} is more than the {images} images there "
            "are to train on; lower it, or collect more"
        )
    parts = settings.accumulation * distributed.size()
    if settings.batch_size < parts:
        raise LockstepError(
            f"train.batch_size: {settings.batch_size} does not give each of {parts} parts "
            "(train.accumulation x processes) an image; raise it"
        )
    if settings.flip and not data.mirrorable:
        raise LockstepError(
            f"train.flip: the conditions of {params.workload} speak of left and right, which a "
            "mirrored image turns round; set it to false"
        )
    if settings.flip and data.latents is not None:
        raise LockstepError(
            f"train.flip: {params.workload} is trained on latents, which cannot be mirrored; set "
            "it to false"
        )
    held_out = min(_VALIDATION_IMAGES, len(data.indices("validation")))
    if held_out == 0 and params.sample.weights == "best":
        raise LockstepError(
            "sample.weights: best is by the loss on held-out images, and there are none; raise "
            "dataset.validation, or set it to ema"
        )
    for weights in (params.sample.weights, params.sample.guidance_weights):
        if (width := sigma_rel_of(weights)) is not None:
            _check_average(width, settings)
    if 0 < held_out < distributed.size():
        raise LockstepError(
            f"dataset.validation: leaves {held_out} images to {distributed.size()} processes; "
            "raise it, or set it to 0"
        )


def _check_average(sigma_rel: float, settings: Train) -> None:
    """Raise `LockstepError` if what this training will keep does not give the average so wide."""
    if settings.steps is None:
        return
    steps = {*settings.snapshots, settings.steps}
    kept = [post_hoc.Average(step, width) for step in steps for width in settings.ema_sigma_rel]
    post_hoc.factors(kept, post_hoc.Average(settings.steps, sigma_rel))


def random_numbers(seed: int, stream: int, index: int) -> np.random.Generator:
    """The random numbers of (seed, stream, index), independent of all others.

    numpy's, since torch's CPU generator reads only 32 bits of its seed: among some 80,000 steps
    two would meet.
    """
    return np.random.default_rng([seed, stream, index])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return random_numbers(seed, _ORDER, epoch).permutation(count)


def batch_positions(seed: int, step: int, batch_size: int, count: int) -> NDArray[np.int64]:
    """Which of `count` images make up the batch of a step.

    The batches cut an endless row of shuffled epochs into pieces: each epoch has every image
    once, and a batch may reach over the end of one into the next.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return np.array([_epoch_order(seed, place // count, count)[place % count] for place in places])


def training_batches(
    data: Dataset, params: Params, steps: range
) -> Iterator[tuple[int, list[Batch]]]:
    """For each step its number and this process's parts of its batch, `train.accumulation` many.

    The batch of a step is the same however many processes and parts there are. The next one is
    drawn in a thread while this one is computed with.
    """
    settings = params.train
    draw_of = partial(_training_draw, data, params, data.indices("train"))
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(draw_of, steps.start) if steps else None
        for step in steps:
            assert following is not None
            draw = following.result()
            if step + 1 < steps.stop:
                following = ahead.submit(draw_of, step + 1)
            yield step, [draw.batch(part) for part in _parts(settings)]


def _bounds(settings: Train) -> list[int]:
    """Where this process's parts of a batch begin, and where the last one ends."""
    each = settings.accumulation
    parts, first = each * distributed.size(), each * distributed.rank()
    return [settings.batch_size * part // parts for part in range(first, first + each + 1)]


def _parts(settings: Train) -> list[slice]:
    """The same parts, counted from this process's first image on."""
    bounds = _bounds(settings)
    return [slice(a - bounds[0], b - bounds[0]) for a, b in itertools.pairwise(bounds)]


def _training_draw(data: Dataset, params: Params, positions: NDArray[np.int64], step: int) -> _Draw:
    """This process's share of a step's batch, some conditions dropped (`condition_dropout`).

    The batch is of the images at `positions`. The few numbers of which an image has one are drawn
    for the whole batch and cut; its noise and pixels are not.
    """
    settings = params.train
    count, bounds = settings.batch_size, _bounds(settings)
    own = slice(bounds[0], bounds[-1])
    chosen = positions[batch_positions(settings.seed, step, count, len(positions))]
    random = random_numbers(settings.seed, _STEP, step)
    t = spread_levels(params.diffusion, count, random)
    # Ho & Salimans 2022, algorithm 1: dropped per image, not per batch.
    kept = random.random(count) >= settings.condition_dropout
    seen = data.seen[chosen[own]]
    if settings.flip:
        mirrored = (random.random(count) < 0.5)[own]
        seen[mirrored] = seen[mirrored, :, ::-1]
    if data.rows is not None and data.rows.ndim == 2:
        condition = forget(data.conditions_of(chosen), params.text.forget, random)[own]
    else:
        condition = data.conditions_of(chosen[own])
    noise = _noise(data, settings.seed, _NOISE, step * count, range(count)[own])
    return _Draw(seen, noise, t[own], condition, kept[own])


def spread_levels(
    diffusion: Diffusion, count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """One level in each of `count` equally likely parts of the levels.

    So the loss varies less. After Kingma et al. 2021 (arXiv:2107.00630), appendix I.1. Which image
    gets which part is as random as the batch's order.
    """
    timesteps = diffusion.timesteps
    places = (np.arange(count) + random.random(count)) / count
    if diffusion.times == "logit_normal":  # Esser et al. 2024 (arXiv:2403.03206), eq. 19, m 0, s 1
        places = torch.special.ndtri(torch.from_numpy(places)).sigmoid().numpy()
    return np.minimum(timesteps * places, timesteps - 1).astype(np.int64)


def validation_batches(data: Dataset, params: Params) -> Iterator[tuple[Batch, int]]:
    """At most 256 held-out images, always the same ones with the same noise and levels.

    Gives this process's share of each batch, and how many images the whole of it has. The
    levels are spread evenly, so that the loss varies with the model and not with the draw.
    """
    positions = data.indices("validation")[:_VALIDATION_IMAGES]
    random = random_numbers(params.train.seed, _VALIDATION, 0)
    spread = np.linspace(0, params.diffusion.timesteps - 1, len(positions)).round()
    levels = random.permutation(spread.astype(np.int64))
    # Batches of nearly the same size: each leaves every process an image.
    batches = -(-len(positions) // _VALIDATION_BATCH)
    bounds = [len(positions) * i // batches for i in range(batches + 1)] if batches else []
    for start, stop in itertools.pairwise(bounds):
        places = range(start, stop)[distributed.share(stop - start)]
        own = slice(places.start, places.stop)
        some = positions[own]
        noise = _noise(data, params.train.seed, _VALIDATION_NOISE, 0, places)
        given = np.ones(len(some), np.bool_)
        draw = _Draw(data.seen[some], noise, levels[own], data.conditions_of(some), given)
        yield draw.batch(), stop - start


def _noise(data: Dataset, seed: int, stream: int, first: int, places: range) -> Tensor:
    """(B, C, H, W) standard normal numbers for the images at some places of a batch.

    `first` is how many images were before that batch. Each image's numbers are its own, as in
    sampling. Counted modulo 2**32 in turns of their own: what `ImageNoise` can tell apart.
    """
    turn, first = divmod(first, 2**32)
    own = int(random_numbers(seed, stream, turn).integers(2**63))
    _, *shape = data.seen.shape
    if data.latents is None:  # bytes have their channels last
        shape = [shape[2], *shape[:2]]
    return ImageNoise(own, [(first + place) % 2**32 for place in places], shape)()
