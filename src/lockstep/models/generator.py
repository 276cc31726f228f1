"""The trained thing: a UNet with what reads its conditions, saved and rebuilt from a folder.

A model's folder has its weights (`ema.safetensors`, `last.safetensors` and others that training
kept), `model.json` (all that is needed to rebuild and use it) and `provenance.json` (the
fingerprint of the training that made it, and its parameters); and, copied, the autoencoder, the
tokeniser and the names of labels that sampling takes. Nothing in it is a pickle: loading never runs
code.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from lockstep.config.schema import Condition
from lockstep.config.weights import file_stem, sigma_rel_of
from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError, what_is_wrong
from lockstep.core.files import read_json, write_json
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.core.tools import TOOLS
from lockstep.core.weights import fill, read_tensors, save_weights
from lockstep.diffusion import NoiseSchedule, Prediction
from lockstep.models import post_hoc
from lockstep.models.conditions import Conditions
from lockstep.models.text import FrozenText, PooledText, ScratchConfig, ScratchTextEncoder
from lockstep.models.unet import (
    CrossAttentionUNet,
    CrossAttentionUNetConfig,
    LabelEmbedding,
    UNet,
    UNetConfig,
)

_Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class FrozenConfig:
    """The shape of contexts computed beforehand: see `lockstep.models.text.FrozenText`."""

    context_length: _Positive
    context_width: _Positive


TextConfig: TypeAlias = ScratchConfig | FrozenConfig


class Generator(nn.Module):
    """`(x_t (B, C, H, W), t (B,), conditions) -> (B, C, H, W)`, C and the rest as the UNet has it.

    The values of the conditions are labels (B, L), multi-hot, or with `text` rows of prompts: word
    ids (B, L) or contexts (B, L, D); with neither `labels` nor `text` there is no condition at all.
    The UNet attends to the contexts of prompts; with `pooled_text` it also gets their mean as a
    vector. Raises `ValueError` for `pooled_text` without `text`, and for `placement_heads` without
    a condition.
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
        if config.placement_heads and self.embedding is None:
            raise ValueError(
                f"Generator's placement_heads is {config.placement_heads}: without labels or text "
                "there is nothing to place; give 0"
            )
        self.pooled = None
        if pooled_text:
            if text is None or isinstance(config, UNetConfig):
                raise ValueError("Generator's pooled_text is True: give a text to pool, or False")
            self.pooled = PooledText(config.cross_attention_dim, width=config.embedding_dim)

    def forward(self, x: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        values, given = conditions.values, conditions.given
        match self.embedding:
            case None:
                return self.unet(x, t, None)
            case LabelEmbedding():  # one vector an image; nothing said is no label
                labels = values.float() * given[:, None]
                placed = self.unet.config.placement_heads > 0
                tokens = self.embedding.one_by_one(labels) if placed else ()
                return self.unet(x, t, self.embedding(labels), *tokens)
            case FrozenText():
                context, mask = self.embedding(values, given)
            case _:  # nothing said is no word
                context, mask = self.embedding(values * given[:, None])
        whole = None if self.pooled is None else self.pooled(context, mask)
        return self.unet(x, t, context, mask, whole)


@dataclass(frozen=True)
class GeneratorConfig:
    """All of a generator but its weights."""

    unet: UNetConfig | CrossAttentionUNetConfig
    labels: int
    text: TextConfig | None
    pooled_text: bool = False

    def build(self) -> Generator:
        return Generator(self.unet, self.labels, self.text, self.pooled_text)


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
    """`model.json` and `provenance.json`: what the weights are and how they came to be."""

    unet: UNetConfig | CrossAttentionUNetConfig
    condition: Condition
    labels: Annotated[int, Field(ge=0)]
    size: _Positive  # of the images, in pixels
    schedule: NoiseSchedule
    prediction: Prediction
    precision: Literal["fp32", "bf16", "fp16"]
    fingerprint: str
    params: dict[str, Any]  # the effective values that made it, by dotted name
    text: ScratchConfig | FrozenConfig | None = None
    pooled_text: bool = False
    reduction: _Positive = 1  # of the latents: how much smaller than images they are

    def __post_init__(self) -> None:
        multiple = self.reduction * self.unet.size_multiple
        if self.size % multiple:
            raise ValueError(f"size is {self.size}: the networks take multiples of {multiple}")
        if isinstance(self.unet, UNetConfig) and self.text is not None:
            raise ValueError("unet has no cross-attention, which a text needs")
        if self.pooled_text and self.text is None:
            raise ValueError("pooled_text is true, without a text")
        if self.unet.placement_heads and not self.is_conditional:
            raise ValueError("placement_heads is above 0, without labels or a text")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what the network sees and gives: images, or latents of them."""
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
    about = dataclasses.asdict(description)
    write_provenance(folder, about.pop("params"), fingerprint=about.pop("fingerprint"))
    write_json(folder / "model.json", about)


def copy_tools(source: Path, out: Path) -> None:
    """Copy what sampling takes beside weights, as far as an encoded or a model's folder has it."""
    for name in TOOLS:
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)


def describe(folder: Path) -> Description:
    """Read `model.json`. Raises `LockstepError` that says what is wrong with it."""
    path, made = folder / "model.json", read_provenance(folder)
    try:
        about = {**read_json(path), "params": made.params, **made.inputs}
        return TypeAdapter(Description).validate_python(about)
    except ValidationError as error:
        raise LockstepError(f"{path}: {what_is_wrong(error)}; train again") from None


def load(folder: Path, weights: str | int) -> tuple[Generator, Description]:
    """The model of a folder on the device, with the `weights` of a name or of a step.

    Raises `LockstepError` on missing or damaged files.
    """
    description = describe(folder)
    model = description.build()
    fill(model, read_weights(folder, weights), _file(folder, weights))
    return hardware.place(model).eval(), description


def read_weights(folder: Path, weights: str | int) -> dict[str, Tensor]:
    """The weights of a name or of a step; `ema_<sigma_rel>` may have no file of its own.

    It is then made from the averages that training kept: see `lockstep.models.post_hoc`. Raises
    `LockstepError` on missing or damaged files, or if those do not give that width.
    """
    path = _file(folder, weights)
    if not path.exists() and (width := sigma_rel_of(weights)) is not None:
        steps = describe(folder).params.get("train.steps")
        if steps and (kept := post_hoc.averages_in(folder, steps)):
            return post_hoc.average(kept, post_hoc.Average(steps, width))
    return read_tensors(path)


def _file(folder: Path, weights: str | int) -> Path:
    return folder / f"{file_stem(weights)}.safetensors"
