"""The trained thing: a UNet with the embedding of its labels, saved and rebuilt from a folder.

A model's folder has its weights (`ema.safetensors`, `last.safetensors` and others that training
kept) and `model.json` (all that is needed to rebuild and use it, and the fingerprint of the
training that made it). Nothing in it is a pickle: loading never runs code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from lockstep import device as hardware
from lockstep import records
from lockstep.diffusion import NoiseSchedule
from lockstep.errors import LockstepError
from lockstep.unet import LabelEmbedding, UNet, UNetConfig
from lockstep.weights import load_weights, save_weights


class Generator(nn.Module):
    """`(x_t (B, 3, H, W), t (B,), labels (B, L) multi-hot) -> (B, 3, H, W)`.

    All-zero labels are the unconditional model; with `labels=0` there is no condition at all.
    """

    def __init__(self, config: UNetConfig, labels: int) -> None:
        super().__init__()
        self.unet = UNet(config)
        self.embedding = LabelEmbedding(labels, width=config.embedding_dim) if labels else None

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is None or labels is None:
            return self.unet(x, t, None)
        return self.unet(x, t, self.embedding(labels))


@dataclass(frozen=True)
class Description:
    """`model.json`: what the weights are and how they came to be."""

    unet: UNetConfig
    labels: int
    size: int
    schedule: NoiseSchedule
    prediction: Literal["epsilon", "v", "x0"]
    precision: Literal["fp32", "bf16", "fp16"]
    fingerprint: str
    params: dict[str, Any]  # the effective values that made it, by dotted name

    def build(self) -> Generator:
        return Generator(self.unet, self.labels)


def save(
    folder: Path, description: Description, weights: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Write a model's folder, one file for each of `weights` by name; it exists and is empty."""
    for name, tensors in weights.items():
        save_weights(tensors, folder / f"{name}.safetensors")
    records.write(folder / "model.json", dataclasses.asdict(description))


def describe(folder: Path) -> Description:
    """Read `model.json`. Raises `LockstepError` that says what is wrong with it."""
    path = folder / "model.json"
    try:
        return TypeAdapter(Description).validate_python(records.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise LockstepError(f"{path}: {key}: {first['msg']}; train again") from None


def load(folder: Path, weights: str | int) -> tuple[Generator, Description]:
    """The model of a folder on the device, with the `weights` of a name or of a step.

    Raises `LockstepError` on missing or damaged files.
    """
    description = describe(folder)
    model = description.build()
    name = f"step_{weights}" if isinstance(weights, int) else weights
    load_weights(model, folder / f"{name}.safetensors")
    return hardware.place(model).eval(), description
