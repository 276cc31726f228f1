"""Weights to begin a training from: a file of the project's own, or a folder of diffusers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lockstep.core.diffusers_folder import WEIGHTS, unet_file
from lockstep.core.weights import load_weights
from lockstep.models.generator import Generator


def load_initial(model: Generator, path: Path) -> None:
    """Fill a generator from a safetensors file of all its weights, or from a diffusers folder.

    Of such a folder it takes `unet/`, or the U-Net that lies right in it; and `condition/`, which
    `lockstep export` writes, where the generator has a condition. Without that, what reads the
    condition stays as it is.

    Raises
    ------
    LockstepError
        One line, if a file is missing or damaged, or its names or shapes do not fit.
    """
    if not path.is_dir():
        load_weights(model, path)
        return
    load_weights(model.unet, unet_file(path))
    reads = {"embedding": model.embedding, "pooled": model.pooled}
    condition = nn.ModuleDict({name: part for name, part in reads.items() if part is not None})
    if condition and (file := path / "condition" / WEIGHTS).is_file():
        load_weights(condition, file)
