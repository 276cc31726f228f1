"""Weights to begin a training from: a file of the project's own, or a folder of diffusers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from lockstep.core.diffusers_folder import WEIGHTS, unet_file
from lockstep.core.errors import LockstepError
from lockstep.core.weights import check_alike, load_weights, read_tensors
from lockstep.models.generator import Generator
from lockstep.models.unet.placement import placement_names


def load_initial(model: Generator, path: Path) -> None:
    """Fill a generator from a safetensors file of all its weights, or from a diffusers folder.

    Of such a folder it takes `unet/`, or the U-Net that lies right in it; and `condition/` and
    `placement/`, which `lockstep export` writes, where the generator has a condition and placement
    attention. Without those folders, these parts stay as they are.

    Raises
    ------
    LockstepError
        One line, if a file is missing or damaged, its names or shapes do not fit, or the folder has
        a `placement/` and the generator none.
    """
    if not path.is_dir():
        load_weights(model, path)
        return
    file, own = unet_file(path), model.unet.state_dict()
    names, _ = placement_names(own)
    found = read_tensors(file)
    check_alike({name: tensor for name, tensor in own.items() if name not in names}, found, file)
    found |= {name: own[name] for name in names}
    if (beside := path / "placement" / WEIGHTS).is_file():
        if not names:
            raise LockstepError(
                f"{beside}: of a network with placement attention, and model.placement_heads is 0; "
                "set it to that network's"
            )
        there = read_tensors(beside)
        check_alike({theirs: own[ours] for ours, theirs in names.items()}, there, beside)
        found |= {ours: there[theirs] for ours, theirs in names.items()}
    model.unet.load_state_dict(found)
    reads = {"embedding": model.embedding, "pooled": model.pooled}
    condition = nn.ModuleDict({name: part for name, part in reads.items() if part is not None})
    if condition and (file := path / "condition" / WEIGHTS).is_file():
        load_weights(condition, file)
