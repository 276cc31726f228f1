"""A grid of pictures by a model that is still being trained, to look at while it is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep import distributed
from lockstep.dataset import Dataset
from lockstep.generator import Description, Generator
from lockstep.params import Params
from lockstep.pictures import grid
from lockstep.pixels import to_bytes
from lockstep.sampling import sample_together

_PICTURES, _PER_ROW = 16, 8


def draw(
    model: Generator, description: Description, params: Params, data: Dataset
) -> NDArray[np.uint8]:
    """A grid (H, W, 3) for the conditions of the first held-out pictures, or of the first ones.

    Always the same conditions and noise, so that the grids of a training can be compared. All
    processes take part.
    """
    positions = data.indices("validation")
    positions = positions if len(positions) else data.indices("train")
    # As many rounds for each process: a network in parts is computed by all of them together.
    count = max(1, _PICTURES // distributed.size()) * distributed.size()
    labels = torch.from_numpy(data.conditions[np.resize(positions[:count], count)]).float()
    drawn = sample_together(model, description, params.sample, labels, seed=0)
    return grid(to_bytes(drawn), per_row=_PER_ROW)
