"""Prompts as the text half of a pretrained CLIP understands them, the way Stable Diffusion does.

Rombach et al. 2022 (arXiv:2112.10752). The numbers are those that diffusers'
`StableDiffusionPipeline.encode_prompt` computes: padded to the full length, no attention mask, the
last layer's states after the final normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.models.text import clip_files


@dataclass(frozen=True)
class ClipText:
    """The frozen text half of a CLIP with its tokeniser; `width` is D, of the context.

    `length` is L, tokens of a prompt with those for beginning and end: the model's positions,
    mostly 77.
    """

    model: Any
    tokenizer: Any
    length: int
    width: int

    @torch.no_grad()  # not inference mode, whose tensors no training takes
    def encode(self, prompts: Sequence[str], batch_size: int = 64) -> Tensor:
        """N prompts -> (N, L, D) float32 on the CPU, none of them all zero.

        A prompt that is too long is cut, and its end token kept; `cut` tells which are.
        """
        parts = [
            self.model(ids.to(self.model.device)).last_hidden_state.float().cpu()
            for ids in token_ids(self.tokenizer, prompts, self.length).split(batch_size)
            if len(ids)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.length, self.width)

    def cut(self, prompts: Iterable[str]) -> list[int]:
        """How many tokens of each prompt are cut off, 0 of most."""
        # Not verbose: it would warn of what is asked for here.
        rows = (self.tokenizer(_encodable(prompt), verbose=False).input_ids for prompt in prompts)
        return [max(0, len(row) - self.length) for row in rows]


def given(encoder: str, sha256: str | None) -> ClipText:
    """The text half of what `text.encoder` names, whose hash is `text.encoder_sha256`.

    Raises `LockstepError` as `clip_files.given` and `load` do.
    """
    return load(clip_files.given(encoder, sha256))


def trained_with(params: Mapping[str, Any]) -> ClipText:
    """The text half that a generator was trained with, by the parameters kept with its weights.

    Raises `LockstepError` as `load`, and if its folder has changed since.
    """
    encoder, sha256 = (params[f"text.{name}"] for name in ("encoder", "encoder_sha256"))
    source = paths.folder_or_name(encoder)
    if isinstance(source, Path) and hashing.sha256(source) != sha256:
        raise LockstepError(
            f"{source}: changed since the model was trained with it; put back what has the SHA-256 "
            f"{sha256}, or run `lockstep add text.encoder` with it and train again"
        )
    return load(source)


def load(source: str | Path) -> ClipText:
    """The text half of a CLIP of `transformers`, whole or by itself.

    `source` is a folder as `save_pretrained` writes it, or a name such as
    "openai/clip-vit-base-patch32", which is fetched if it is not in the library's cache. Raises
    `LockstepError` if the package is not installed, or the model is missing, damaged or of another
    kind.
    """
    clip_files.kind(str(source))
    model = clip_files.model("CLIPTextModel", str(source))
    config = model.config
    tokenizer = clip_files.tokenizer(str(source), config.vocab_size)
    return ClipText(model, tokenizer, config.max_position_embeddings, config.hidden_size)


def token_ids(tokenizer: Any, prompts: Sequence[str], length: int) -> Tensor:
    """N prompts -> (N, length) ids, from the beginning's to the end's and then padding."""
    if not prompts:
        return torch.empty(0, length, dtype=torch.long)
    return tokenizer(
        [_encodable(prompt) for prompt in prompts],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def _encodable(prompt: str) -> str:
    """With a question mark for half a surrogate pair, which a JSON file may have."""
    return prompt.encode("utf-8", "replace").decode("utf-8")
