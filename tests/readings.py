"""An evaluator that has learnt nothing: what it is to say of an image stands in the image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.evaluation.scene_evaluator import OBJECTS, Detections, SceneEvaluator


class Reader(SceneEvaluator):
    """Says `detected` number i of an image whose first pixel is i, as `numbered` makes them."""

    def __init__(self, detected: Detections) -> None:
        super().__init__()
        parts = (detected.present[..., None], detected.place, detected.large[..., None])
        self.said = torch.cat(parts, 2)

    def forward(self, images: Tensor) -> Tensor:
        high, low = ((images[:, :2, 0, 0] + 1) * 127.5).round().long().T
        return self.said[256 * high + low]


def numbered(*numbers: int) -> NDArray[np.uint8]:
    """Images (N, 4, 4, 3) for a `Reader`."""
    images = np.zeros((len(numbers), 4, 4, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(numbers, 256)
    return images


def anything(count: int, seed: int = 0) -> Detections:
    """Random scores and places of `count` images."""
    generator = torch.Generator().manual_seed(seed)
    present, large, x, y = torch.rand(4, count, OBJECTS, generator=generator)
    return Detections(present, torch.stack([x, y], 2), large)
