"""The training of a classifier of noisy images, for classifier guidance.

It takes minutes on a CPU, so there are no checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.schema import NoisyClassifier as Settings
from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.data.dataset import Dataset
from lockstep.diffusion import ImageNoise, NoiseSchedule
from lockstep.models.build import noise_schedule
from lockstep.models.noisy_classifier import (
    Config,
    LabelClassifier,
    NoisyClassifier,
    PromptClassifier,
    untrained,
)
from lockstep.models.text import tokenizer
from lockstep.training import optimizers
from lockstep.training.batches import (
    INIT,
    batch_positions,
    random_numbers,
    spread_levels,
    x0_of,
)
from lockstep.training.learning_rate import factor

_STEP, _NOISE = 7, 8  # streams of random numbers beside those of `lockstep.training.batches`
_WARMUP = 100
_LEAST_FREQUENCY = 1e-3
_FORGET = 0.02  # words that are made unknown, so that such words are known as that


@dataclass(frozen=True)
class _Optimizer:
    """Muon for the weights of linear layers and convolutions but `conv_in`; AdamW for the rest."""

    lr: float
    muon_lr: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    optimizer: Literal["muon"] = "muon"


def make(
    params: Params, data: Dataset, progress: Callable[[Iterable[Any], int], Iterable[Any]]
) -> NoisyClassifier | None:
    """A classifier trained on the generator's training images at all noise levels, or none.

    Every random number comes from (seed, step). Raises `LockstepError` if there are fewer images
    than a batch has, they cannot be mirrored and are to be, no prompt has a known word, there is no
    such noise schedule, or the loss is not finite.
    """
    settings = params.noisy_classifier
    if settings.steps == 0:
        return None
    positions = data.indices("train")
    _check(settings, data, positions)
    precision = hardware.resolve_precision(settings.precision, "noisy_classifier.precision")
    try:
        schedule = noise_schedule(params.diffusion)
    except ValueError as error:
        raise LockstepError(f"diffusion: {error}") from None
    classifier = _untrained(settings, data, positions, schedule)
    classifier = hardware.place(classifier).train()
    rates = _Optimizer(settings.lr, settings.muon_lr, settings.weight_decay)
    made = optimizers.make(classifier, rates, precision)
    steps, count, device = settings.steps, settings.batch_size, hardware.device()
    for step in progress(range(steps), steps):
        random = random_numbers(settings.seed, _STEP, step)
        t = torch.from_numpy(spread_levels(params.diffusion, count, random))
        chosen = positions[batch_positions(settings.seed, step, count, len(positions))]
        seen = data.seen[chosen]
        if settings.flip:
            mirrored = random.random(count) < 0.5
            seen[mirrored] = seen[mirrored, :, ::-1]
        x0 = x0_of(seen).to(device)
        noise = _noise(settings.seed, step * count, x0)
        noisy = schedule.add_noise(x0, noise, t.to(device))
        conditions = data.conditions_of(chosen)
        if isinstance(classifier, PromptClassifier):
            conditions = tokenizer.forget(conditions, _FORGET, random)
        values = torch.from_numpy(conditions).to(device)
        with hardware.autocast(precision):
            loss = -classifier.log_likelihood(noisy, t.to(device), values).mean()
        if not math.isfinite(loss.item()):
            raise LockstepError(
                f"the noisy classifier's loss is {loss.item()} at step {step + 1}; lower "
                "noisy_classifier.lr and noisy_classifier.muon_lr"
            )
        rate = factor(step, steps=steps, warmup=min(_WARMUP, steps // 10), decay="cosine")
        for optimizer in made:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            optimizer.step()
    return classifier.eval().requires_grad_(False)


def _check(settings: Settings, data: Dataset, positions: NDArray[np.int64]) -> None:
    if len(positions) < settings.batch_size:
        raise LockstepError(
            f"noisy_classifier.batch_size: {settings.batch_size} is more than the "
            f"{len(positions)} images there are to train on; lower it, or collect more"
        )
    if settings.flip and (data.latents is not None or not data.mirrorable):
        raise LockstepError(
            "noisy_classifier.flip: latents cannot be mirrored, and the conditions here may speak "
            "of left and right; set it to false"
        )


def _untrained(
    settings: Settings, data: Dataset, positions: NDArray[np.int64], schedule: NoiseSchedule
) -> NoisyClassifier:
    values = torch.from_numpy(data.conditions_of(positions))
    inputs, length, file = values.shape[1], None, None
    if data.rows is not None:
        assert data.encoded is not None  # which the rows are from
        words = data.encoded / tokenizer.FILE
        inputs, length, file = tokenizer.load(words).size, inputs, hashing.sha256(words)
    _, channels, height, width = x0_of(data.seen[positions[:1]]).shape
    config = Config(inputs, length, file, (channels, height, width), settings.width, schedule)
    with torch.random.fork_rng():
        torch.manual_seed(int(random_numbers(settings.seed, INIT, 0).integers(2**32)))
        classifier = untrained(config)
    if length is not None and not classifier.has_known(values).any():
        raise LockstepError(
            "noisy_classifier.steps: no training image's prompt has a known word, so there is "
            "nothing to learn; set it to 0"
        )
    if isinstance(classifier, LabelClassifier):
        # Start from each label's frequency, not from one half: the first steps need not learn it.
        frequency = values.double().mean(0)
        with torch.no_grad():
            usual = frequency.clamp(_LEAST_FREQUENCY, 1 - _LEAST_FREQUENCY)
            classifier.head.bias.copy_(torch.logit(usual))
    return classifier


def _noise(seed: int, first: int, x0: Tensor) -> Tensor:
    """Noise for x0 (B, C, H, W), on its device: that of the images `first` and up of a seed."""
    own = int(random_numbers(seed, _NOISE, 0).integers(2**63))
    numbers = [(first + place) % 2**32 for place in range(len(x0))]
    noise = ImageNoise(own, numbers, x0.shape[1:])()
    return noise.to(x0.device, memory_format=torch.channels_last)
