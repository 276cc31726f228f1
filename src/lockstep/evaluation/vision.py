"""Networks of `transformers` as feature spaces: DINOv2, for FD-DINOv2, and CLIP, for CMMD.

Stein et al., "Exposing flaws of generative model evaluation metrics and their unfair treatment of
diffusion models", NeurIPS 2023 (arXiv:2306.04675): the class token of DINOv2's ViT-L/14.
Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", CVPR
2024 (arXiv:2401.09603): the image embeddings of CLIP's ViT-L/14 at 336 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lockstep.core import device as hardware
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError, reason
from lockstep.models.text import clip_files

# Of ImageNet's images, as DINOv2 wants them.
_DINO_MEAN, _DINO_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DINO_SIZE = 224


@dataclass(frozen=True)
class Vision:
    """A frozen network: (B, 3, size, size) pixels -> (B, dimensions) features.

    Pixels are 0 ... 1, less `mean` and over `deviation`, each (3,). Images are resized without
    cropping, bicubically; `antialias` makes that Pillow's bicubic, else it is torch's.
    """

    network: Callable[[Tensor], Tensor]
    dimensions: int
    size: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    antialias: bool

    def features(self, images: NDArray[np.uint8]) -> Tensor:
        """(B, H, W, 3) bytes -> (B, dimensions)."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
        resized = F.interpolate(
            pixels, (self.size, self.size), mode="bicubic", antialias=self.antialias
        )
        if self.antialias:
            resized = resized.clamp(0, 1)  # Pillow has bytes between
        mean, deviation = (torch.tensor(of).view(3, 1, 1) for of in (self.mean, self.deviation))
        return self.network(((resized - mean) / deviation).to(hardware.device()))


def dinov2(name: str, sha256: str | None) -> Vision:
    """A DINOv2 of any size: the class token behind the last norm.

    `name` is that of a model on the Hugging Face hub, or a folder whose hash must be `sha256`.
    Raises `LockstepError` if it is another kind of model, damaged, changed or cannot be had.
    """
    key = "evaluate.dinov2"
    model = _model(key, _source(key, name, sha256), "Dinov2Model")
    return Vision(
        lambda pixels: model(pixels).pooler_output,
        model.config.hidden_size,
        _DINO_SIZE,
        _DINO_MEAN,
        _DINO_DEVIATION,
        antialias=True,
    )


def clip(name: str, sha256: str | None) -> Vision:
    """A CLIP's embeddings of images, of any length.

    `name` and errors are as for `dinov2`.
    """
    key = "evaluate.clip"
    source = _source(key, name, sha256)
    model = _model(key, source, "CLIPModel")
    processor = clip_files.processor(source)
    return Vision(
        lambda pixels: model.get_image_features(pixels).pooler_output,
        model.config.projection_dim,
        model.config.vision_config.image_size,
        tuple(processor.image_mean),
        tuple(processor.image_std),
        antialias=False,
    )


def _source(key: str, name: str, sha256: str | None) -> str:
    source = paths.folder_or_name(name)
    if isinstance(source, Path):
        hashing.verify(source, sha256, key)
    return str(source)


def _model(key: str, source: str, class_name: str) -> Any:
    wanted, is_folder = getattr(clip_files.library(), class_name), Path(source).is_dir()
    try:
        with clip_files.quietly():
            model, report = wanted.from_pretrained(
                source,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                local_files_only=is_folder,
            )
    except Exception as error:  # the library's parts have no narrower one in common
        place = "FOLDER` as save_pretrained writes it" if is_folder else "FOLDER` of a copy"
        raise LockstepError(
            f"{source}: {key}: cannot be read ({reason(error)[:200]}); `lockstep add {key} {place}"
        ) from None
    if missing := sorted(report["missing_keys"]):  # transformers would begin them at random
        raise LockstepError(
            f"{source}: {key}: no {class_name}, its weights lack {missing[0]} ({len(missing)} in "
            "all); name another model"
        )
    return hardware.place(model).eval().requires_grad_(False)
