"""What an evaluator learns from, and is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lockstep.data.dataset import Dataset


@dataclass(frozen=True)
class Examples:
    """Images, and what is to be said of them.

    Parameters
    ----------
    labels
        (N, L) of zeros and ones.
    images
        Some of 0 .. N-1 -> (B, H, W, 3) bytes.
    views
        How many of the N show one and the same image, in different ways.
    """

    labels: NDArray[np.integer]
    images: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    views: int = 1


def of_split(data: Dataset, split: str) -> Examples:
    """The images of a split with their conditions."""
    positions = data.indices(split)
    return Examples(data.conditions[positions], lambda chosen: data.images[positions[chosen]])
