"""From parameters to a network, made for the images and conditions of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from lockstep.config.networks import UNetSettings
from lockstep.config.schema import Diffusion, Params
from lockstep.diffusion import NoiseSchedule
from lockstep.models.generator import FrozenConfig, Generator, GeneratorConfig, TextConfig
from lockstep.models.text import FrozenText, ScratchConfig, tokenizer
from lockstep.models.unet.init import zero_residuals

if TYPE_CHECKING:
    from lockstep.data.dataset import Dataset


def noise_schedule(settings: Diffusion) -> NoiseSchedule:
    """The schedule of `params.diffusion`. Raises `ValueError` if it leaves float64."""
    return NoiseSchedule(
        settings.schedule,
        settings.timesteps,
        settings.beta_start,
        settings.beta_end,
        settings.zero_terminal_snr,
        settings.shift,
    )


def generator_config(params: Params, data: Dataset) -> GeneratorConfig:
    """What params.yaml asks for, made for these images or latents, and labels or prompts.

    Raises `ValueError` if there is no such network.
    """
    model: UNetSettings = params.model
    settings, rows = params.text, data.rows
    channels = 3 if data.latents is None else data.latents.shape[1]
    if rows is None:
        return GeneratorConfig(model.unet(channels), data.conditions.shape[1], None)
    if rows.ndim == 3:
        _, length, width = rows.shape
        text: TextConfig = FrozenConfig(length, width)
    else:
        width = settings.width
        text = ScratchConfig(
            words=max(tokenizer.UNKNOWN, int(rows.max())) + 1,
            length=rows.shape[1],
            width=width,
            layers=settings.layers,
            heads=settings.heads,
        )
    unet = model.cross_attention_unet(channels, width)
    return GeneratorConfig(unet, labels=0, text=text, pooled_text=model.pooled_text)


def untrained(params: Params, data: Dataset) -> Generator:
    """Its first weights, from torch's generator; of a frozen encoder, what "" is to it."""
    model = generator_config(params, data).build()
    if params.model.zero_residuals:
        zero_residuals(model.unet)
    if isinstance(model.embedding, FrozenText):
        assert data.rows is not None
        model.embedding = FrozenText(torch.from_numpy(data.rows[0].astype(np.float32)))
    return model
