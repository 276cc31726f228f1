"""How well images fit their prompts, by a CLIP that has both halves.

Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", EMNLP 2021
(arXiv:2104.08718). The convention is torchmetrics': 100 max(cos, 0), and the prompt as it stands.
The paper's CLIP-S is 2.5 max(cos, 0), and puts "A photo depicts" before each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.models.text import clip_files
from lockstep.models.text.pretrained import token_ids


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP with what makes its inputs."""

    model: Any
    tokenizer: Any
    processor: Any

    @torch.inference_mode()
    def scores(
        self, images: NDArray[np.uint8], prompts: Sequence[str], batch_size: int = 64
    ) -> NDArray[np.float64]:
        """(N, H, W, 3) bytes and the prompt of each -> their scores (N,) in [0, 100].

        Raises `LockstepError` if there is no image, or not a prompt for each.
        """
        if len(images) != len(prompts) or not len(images):
            raise LockstepError(
                f"CLIP scores of {len(images)} images and {len(prompts)} prompts: give a "
                "prompt for each image, and one image or more"
            )
        batches = [slice(i, i + batch_size) for i in range(0, len(images), batch_size)]
        return np.concatenate([self._scores(images[own], prompts[own]) for own in batches])

    def _scores(self, images: NDArray[np.uint8], prompts: Sequence[str]) -> NDArray[np.float64]:
        device = self.model.device
        pixels = self.processor(
            images=list(images), input_data_format="channels_last", return_tensors="pt"
        ).pixel_values
        ids = token_ids(
            self.tokenizer, prompts, self.model.config.text_config.max_position_embeddings
        )
        # A token sees none behind it, and a prompt's embedding is its end's: padding needs no mask.
        of_images = self.model.get_image_features(pixels.to(device)).pooler_output
        of_prompts = self.model.get_text_features(ids.to(device)).pooler_output
        cosines = F.cosine_similarity(of_images.double(), of_prompts.double())
        return 100 * cosines.clamp(min=0).cpu().numpy()


def load(source: str | Path) -> Clip:
    """A whole CLIP of `transformers`, from its folder or by its name, as `pretrained.load`.

    Raises `LockstepError` likewise, and if it is a text half alone.
    """
    if clip_files.kind(str(source)) != "clip":
        raise LockstepError(
            f"{source}: has no vision half, which CLIP scores want; give a whole CLIP, such as "
            "openai/clip-vit-base-patch32"
        )
    model = clip_files.model("CLIPModel", str(source))
    tokenizer = clip_files.tokenizer(str(source), model.config.text_config.vocab_size)
    return Clip(model, tokenizer, clip_files.processor(str(source)))
