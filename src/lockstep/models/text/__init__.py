"""Prompts -> context (B, L, D) and mask (B, L), what a UNet with cross-attention attends to.

Two ways: words learned from the training prompts and an encoder trained with the generator, or the
frozen text half of a pretrained CLIP (`pretrained`, which wants the package transformers).
"""

from lockstep.models.text.encoders import FrozenText, PooledText, ScratchConfig, ScratchTextEncoder
from lockstep.models.text.tokenizer import Tokenizer

SCRATCH = "scratch"
"""The value of `text.encoder` for the encoder that is trained along."""

__all__ = [
    "SCRATCH",
    "FrozenText",
    "PooledText",
    "ScratchConfig",
    "ScratchTextEncoder",
    "Tokenizer",
]
