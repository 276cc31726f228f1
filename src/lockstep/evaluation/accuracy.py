"""How well images show the objects they were to: metrics from an evaluator's scores."""

from __future__ import annotations

import torch
from torch import Tensor


def found(scores: Tensor, labels: Tensor) -> Tensor:
    """(N, L) which of an image's k labels are among its k highest scores.

    `scores` (N, L) floats, `labels` (N, L) of zeros and ones.
    """
    found = torch.zeros_like(labels, dtype=torch.bool)
    for i, (row, requested) in enumerate(zip(scores, labels, strict=True)):
        found[i, row.topk(int(requested.sum())).indices] = True
    return found & labels.bool()


def top_k_accuracy(scores: Tensor, labels: Tensor) -> float:
    """The official accuracy: sum of hits / sum of labels over all images (a micro average)."""
    return int(found(scores, labels).sum()) / int(labels.sum())


def exact_match(scores: Tensor, labels: Tensor, threshold: float = 0.5) -> float:
    """The share of images where the objects above `threshold` are exactly those requested."""
    return ((scores > threshold) == labels.bool()).all(1).double().mean().item()


def false_objects(scores: Tensor, labels: Tensor, threshold: float = 0.5) -> float:
    """Objects above `threshold` that were not requested, per image.

    The official accuracy never punishes these.
    """
    return ((scores > threshold) & ~labels.bool()).sum(1).double().mean().item()
