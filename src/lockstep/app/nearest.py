"""The training images that look most like generated ones to the evaluator.

The features of the training images are those that the stage `reference` has written down, so that
only the generated images go through the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.app.kept import Kept
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.data.dataset import open_dataset
from lockstep.evaluation import reference
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.evaluation.reference import KEPT
from lockstep.evaluation.rows import SplitImages
from lockstep.evaluation.space import Space
from lockstep.tracking import dvc_lock

_NEAREST = 3


@dataclass(frozen=True)
class Table:
    """The training images (N, H, W, 3), and their features (N, D) in a space."""

    space: Space
    images: SplitImages
    features: torch.Tensor

    def nearest(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The nearest to each of (N, H, W, 3), from the nearest on -> (N, 3, H, W, 3).

        By Euclidean distance of the features; fewer where there are not three.
        """
        found = np.concatenate(list(self.space.features(images)))
        apart = torch.cdist(torch.from_numpy(found).float(), self.features)
        count = min(_NEAREST, len(self.features))
        places = apart.topk(count, largest=False).indices
        return np.stack([np.stack([self.images[i] for i in row]) for row in places.tolist()])


def table_of(params: Params, kept: Kept) -> Table:
    """The table of a workload.

    Raises `LockstepError` if data set, evaluator or reference are missing or do not fit.
    """
    workload = params.workload
    folders = (paths.dataset(workload), paths.evaluator(workload), paths.reference(workload))
    return kept.get("table", folders, lambda: _read(params))


def _read(params: Params) -> Table:
    target = f"reference@{params.workload}"
    if anew := dvc_lock.load().outdated(target):
        raise LockstepError(f"{', '.join(anew)} was made anew since; `dvc repro {target}`")
    data = open_dataset(paths.dataset(params.workload))
    space = evaluator_of(params).space(params, data)
    folder = paths.reference(params.workload)
    path = folder / f"{space.name}_training.npz"
    known = reference.load(path if path.exists() else folder / f"{space.name}.npz")
    images = SplitImages(data, "train", params.evaluate.reference_count)
    if len(known.features) != min(len(images), KEPT):
        raise LockstepError(
            f"{folder}: not of the images in {data.folder}; `dvc repro reference@{params.workload}`"
        )
    return Table(space, images, torch.from_numpy(known.features))
