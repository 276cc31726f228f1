"""The trained thing: a UNet with what reads its conditions, saved and rebuilt from a folder.

A model's folder has its weights (`ema.safetensors`, `last.safetensors` and others that training
kept) and `model.json` (all that is needed to rebuild and use it, and the fingerprint of the
training that made it); and, copied, the autoencoder and the tokeniser that drawing takes. Nothing
in it is a pickle: loading never runs code.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from lockstep import device as hardware
from lockstep import records
from lockstep.dataset import TOOLS, Dataset
from lockstep.diffusion import NoiseSchedule
from lockstep.errors import LockstepError, what_is_wrong
from lockstep.params import Params
from lockstep.text import FrozenText, PooledText, ScratchConfig, ScratchTextEncoder, tokenizer
from lockstep.unet import (
    CrossAttentionUNet,
    CrossAttentionUNetConfig,
    LabelEmbedding,
    UNet,
    UNetConfig,
)
from lockstep.weights import load_weights, save_weights


@dataclass(frozen=True)
class FrozenConfig:
    """The shape of contexts that were computed beforehand: see `lockstep.text.FrozenText`."""

    context_length: int
    context_width: int


TextConfig: TypeAlias = ScratchConfig | FrozenConfig


class Generator(nn.Module):
    """`(x_t (B, C, H, W), t (B,), conditions) -> (B, C, H, W)`, C and the rest as the UNet has it.

    The conditions are labels (B, L), multi-hot, or with `text` rows of prompts: word ids (B, L) or
    contexts (B, L, D). All-zero ones are the unconditional model; with neither `labels` nor `text`
    there is no condition at all. The UNet attends to the contexts of prompts; with `pooled_text` it
    also gets their mean as a vector.

    Raises `ValueError` for `pooled_text` without `text`.
    """

    def __init__(
        self,
        config: UNetConfig | CrossAttentionUNetConfig,
        labels: int,
        text: TextConfig | None = None,
        pooled_text: bool = False,
    ) -> None:
        super().__init__()
        self.unet = UNet(config) if isinstance(config, UNetConfig) else CrossAttentionUNet(config)
        self.embedding = _embedding(config, labels, text)
        self.pooled = None
        if pooled_text:
            if text is None or isinstance(config, UNetConfig):
                raise ValueError("Generator's pooled_text is True: give a text to pool, or False")
            self.pooled = PooledText(config.cross_attention_dim, width=config.embedding_dim)

    def forward(self, x: Tensor, t: Tensor, conditions: Tensor | None = None) -> Tensor:
        if self.embedding is None or conditions is None:
            return self.unet(x, t, None)
        read = self.embedding(conditions)
        if isinstance(read, Tensor):  # of labels one vector an image
            return self.unet(x, t, read)
        context, mask = read
        whole = None if self.pooled is None else self.pooled(context, mask)
        return self.unet(x, t, context, mask, whole)


@dataclass(frozen=True)
class Form:
    """All of a generator but its weights."""

    unet: UNetConfig | CrossAttentionUNetConfig
    labels: int
    text: TextConfig | None
    pooled_text: bool = False

    def build(self) -> Generator:
        return Generator(self.unet, self.labels, self.text, self.pooled_text)


def form(params: Params, data: Dataset) -> Form:
    """What params.yaml asks for, made for these pictures or latents, and labels or prompts.

    Raises `ValueError` if there is no such network.
    """
    model, settings, rows = params.model, params.text, data.rows
    channels = 3 if data.latents is None else data.latents.shape[1]
    if rows is None:
        return Form(model.unet(channels), data.conditions.shape[1], None)
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
    return Form(unet, labels=0, text=text, pooled_text=model.pooled_text)


def untrained(params: Params, data: Dataset) -> Generator:
    """Its first weights, from torch's generator; of a frozen encoder, what "" is to it."""
    model = form(params, data).build()
    if isinstance(model.embedding, FrozenText):
        assert data.rows is not None
        model.embedding = FrozenText(torch.from_numpy(data.rows[0].astype(np.float32)))
    return model


def _embedding(
    config: UNetConfig | CrossAttentionUNetConfig, labels: int, text: TextConfig | None
) -> LabelEmbedding | ScratchTextEncoder | FrozenText | None:
    match text:
        case ScratchConfig():
            return ScratchTextEncoder(text)
        case FrozenConfig():
            return FrozenText(torch.zeros(text.context_length, text.context_width))
        case _:
            return LabelEmbedding(labels, width=config.embedding_dim) if labels else None


@dataclass(frozen=True)
class Description:
    """`model.json`: what the weights are and how they came to be."""

    unet: UNetConfig | CrossAttentionUNetConfig
    labels: int
    size: int  # of the pictures, in pixels
    schedule: NoiseSchedule
    prediction: Literal["epsilon", "v", "x0"]
    precision: Literal["fp32", "bf16", "fp16"]
    fingerprint: str
    params: dict[str, Any]  # the effective values that made it, by dotted name
    text: ScratchConfig | FrozenConfig | None = None
    pooled_text: bool = False
    reduction: int = 1  # of the latents: how much smaller than pictures they are

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what the network sees and draws: pictures, or latents of them."""
        side = self.size // self.reduction
        return self.unet.in_channels, side, side

    @property
    def is_conditional(self) -> bool:
        """Whether there is a condition, and so guidance."""
        return self.labels > 0 or self.text is not None

    def build(self) -> Generator:
        return Generator(self.unet, self.labels, self.text, self.pooled_text)


def save(
    folder: Path, description: Description, weights: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Write a model's folder, one file for each of `weights` by name; it exists and is empty."""
    for name, tensors in weights.items():
        save_weights(tensors, folder / f"{name}.safetensors")
    records.write(folder / "model.json", dataclasses.asdict(description))


def copy_tools(source: Path, out: Path) -> None:
    """Copy what drawing takes beside weights, as far as an encoded or a model's folder has it."""
    for name in TOOLS:
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)


def describe(folder: Path) -> Description:
    """Read `model.json`. Raises `LockstepError` that says what is wrong with it."""
    path = folder / "model.json"
    try:
        return TypeAdapter(Description).validate_python(records.read(path))
    except ValidationError as error:
        raise LockstepError(f"{path}: {what_is_wrong(error)}; train again") from None


def load(folder: Path, weights: str | int) -> tuple[Generator, Description]:
    """The model of a folder on the device, with the `weights` of a name or of a step.

    Raises `LockstepError` on missing or damaged files.
    """
    description = describe(folder)
    model = description.build()
    name = f"step_{weights}" if isinstance(weights, int) else weights
    load_weights(model, folder / f"{name}.safetensors")
    return hardware.place(model).eval(), description
