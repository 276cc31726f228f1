"""dlib's face embedding, which is trained already."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.data.dataset import Dataset
from lockstep.evaluation import dlib_embedding
from lockstep.evaluation.evaluators import Score
from lockstep.evaluation.space import Space

ACCURACY = "mean accuracy"


def train(params: Params, out: Path) -> dict[str, float]:
    """Note which embedding it is. Raises `LockstepError` if its weights are missing or others."""
    dlib_embedding.space()
    write_provenance(out, {"evaluator.type": "dlib", **dlib_embedding.description()})
    return {}


def space(params: Params, data: Dataset) -> Space:
    """The embedding, if it is the one that the folder stands for: 128 numbers."""
    folder = paths.evaluator(params.workload)
    noted = read_provenance(folder).params
    if any(noted.get(name) != value for name, value in dlib_embedding.description().items()):
        raise LockstepError(
            f"{folder}: stands for another face embedding than the one computed here; `dvc repro "
            f"--force --single-item evaluator@{params.workload}`"
        )
    return dlib_embedding.space()


def metrics(params: Params, out: Path) -> dict[str, float]:
    """None: nothing is said of the faces."""
    return {}


def scorer(params: Params) -> Score:
    """None either."""
    return lambda target, generated: {}
