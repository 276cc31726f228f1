"""Which trained models the page offers, and what can be asked of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lockstep.config.schema import Condition, Params
from lockstep.config.weights import sigma_rel_of
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.data.dataset import open_dataset
from lockstep.models import generator
from lockstep.sampling.conditions.names import read_names

# Those that parameters have a name for; they say a step as a number.
_WEIGHTS = re.compile(r"ema|best|last|ema_0\.\d+|step_(\d+)")


@dataclass(frozen=True)
class Choice:
    """One set of weights in the folder of a trained model."""

    folder: Path
    weights: str | int


@dataclass(frozen=True)
class Offer:
    """What a workload's trained models can be asked for.

    `choices` are sets of weights by what the page calls them. `names` are the objects or classes
    that an image can show, each with the number of training images that show it (None where the
    data set is not here), and `most` is how many of them one training image shows at most.
    """

    workload: str
    condition: Condition
    choices: dict[str, Choice]
    levels: int
    names: dict[str, int | None]
    most: int | None


def offer(params: Params, others: Iterable[Path] = ()) -> Offer:
    """Look at a workload's model, and at `others`, folders of more models of the same condition.

    Raises `LockstepError` if one is missing or damaged, or is of another condition.
    """
    own = paths.model(params.workload)
    description = generator.describe(own)
    choices = {
        _called(weights): Choice(own, weights) for weights in _weights(own, params.sample.weights)
    }
    for folder in others:
        other = generator.describe(folder)
        if (other.condition, other.labels) != (description.condition, description.labels):
            raise LockstepError(
                f"{folder}: takes other conditions than the model in {own}; leave it out"
            )
        choices |= {
            f"{folder}: {_called(weights)}": Choice(folder, weights) for weights in _weights(folder)
        }
    names: dict[str, int | None] = {}
    most = None
    if description.condition in ("labels", "classes"):
        names = dict.fromkeys(read_names(own))
        names, most = _counted(params, names)
    return Offer(
        params.workload,
        description.condition,
        choices,
        description.schedule.timesteps,
        names,
        most,
    )


def _weights(folder: Path, wanted: str | int = "ema") -> list[str | int]:
    """The sets of weights in a model's folder; the averages first, as training names them.

    The one `wanted` may be an average that has no file: it is made of others.
    """
    found = [_WEIGHTS.fullmatch(path.stem) for path in sorted(folder.glob("*.safetensors"))]
    weights: set[str | int] = {int(name[1]) if name[1] else name[0] for name in found if name}
    if not weights:
        raise LockstepError(f"{folder}: has no weights; `dvc checkout` restores them")
    if sigma_rel_of(wanted) is not None:
        weights.add(wanted)
    return sorted(weights, key=lambda name: (isinstance(name, int), name != "ema", name))


def _called(weights: str | int) -> str:
    return f"step {weights}" if isinstance(weights, int) else weights


def _counted(
    params: Params, names: dict[str, int | None]
) -> tuple[dict[str, int | None], int | None]:
    """The names with the number of training images that show each; as they are without data."""
    try:
        data = open_dataset(paths.dataset(params.workload))
    except LockstepError:
        return names, None
    own = np.asarray(data.conditions[data.indices("train")])
    if list(names) != data.names or not len(own):
        return names, None
    counts = own.sum(0, dtype=np.int64).tolist()
    return dict(zip(names, counts, strict=True)), int(own.sum(1).max())
