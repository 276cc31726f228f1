"""What follows from parameters: shapes of networks, names of averages of weights.

Apart from the sections, whose fields are inputs of a stage by themselves: this is code that decides
results, and so is in the digests.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lockstep.config.networks import Backbone, CrossAttentionUNetConfig, UNetConfig


@dataclass(frozen=True, kw_only=True)
class UNetSettings(Backbone):
    """A backbone, and where it attends.

    With text, `attention` says which levels attend to it, with `heads` each, and `pooled_text`
    whether its mean is added to the time embedding: see `lockstep.models.text.PooledText`. Without,
    `attention` says which levels have self-attention, with heads of `attention_head_dim`.
    """

    attention: tuple[bool, ...]
    attention_head_dim: int | None
    heads: int
    pooled_text: bool

    def unet(self, channels: int = 3) -> UNetConfig:
        """For images or latents of so many channels. Raises `ValueError` if it cannot be."""
        return UNetConfig(
            **fields_of(Backbone, self),
            in_channels=channels,
            out_channels=channels,
            attention=self.attention,
            attention_head_dim=self.attention_head_dim,
        )

    def cross_attention_unet(self, channels: int, width: int) -> CrossAttentionUNetConfig:
        """The same with a context of this width."""
        return CrossAttentionUNetConfig(
            **fields_of(Backbone, self),
            in_channels=channels,
            out_channels=channels,
            cross_attention=self.attention,
            cross_attention_dim=width,
            heads=self.heads,
        )


def averages_of(ema_decay: float | None, ema_sigma_rel: tuple[float, ...]) -> tuple[str, ...]:
    """The names of the averages of the weights; the first is the one that is validated."""
    constant = () if ema_decay is None else ("ema",)
    return (*constant, *(f"ema_{sigma_rel:g}" for sigma_rel in ema_sigma_rel))


def fields_of(kind: type, config: Any) -> dict[str, Any]:
    """The values that a config has for the fields of a class that it is made of."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(kind)}
