"""What an evaluator learns where nothing is said of the images: which way up they are.

To tell the four rotations of an image from each other, a network has to know what it shows
(Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations",
arXiv:1803.07728).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lockstep.data.dataset import Dataset
from lockstep.evaluation.examples import Examples

ROTATIONS = 4


def rotated(data: Dataset, split: str) -> Examples:
    """Each image of a split four times: as it is, and turned by one, two and three quarters.

    Example `4 i + k` is image i turned by k quarters counter-clockwise; its label is k, one-hot.
    """
    positions = data.indices(split)
    labels = np.tile(np.eye(ROTATIONS, dtype=np.uint8), (len(positions), 1))

    def images(chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        upright = data.images[positions[chosen // ROTATIONS]]
        quarters = chosen % ROTATIONS
        turned = (np.rot90(image, k) for image, k in zip(upright, quarters, strict=True))
        return np.stack(list(turned))

    return Examples(labels, images, views=ROTATIONS)
