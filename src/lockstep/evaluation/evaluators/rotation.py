"""A classifier of rotations, for images of which nothing need be known."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.provenance import write_provenance
from lockstep.data.dataset import Dataset, open_dataset
from lockstep.evaluation import classifier
from lockstep.evaluation.classifier import ROTATIONS
from lockstep.evaluation.evaluators import Score
from lockstep.evaluation.space import Space, network_space

ACCURACY = "mean accuracy"


def train(params: Params, out: Path) -> dict[str, float]:
    """Train it; gives its accuracy. Raises `LockstepError` if there are too few images."""
    write_provenance(out, params.values("evaluator"))
    return classifier.of_rotations(params, open_dataset(paths.dataset(params.workload)), out)


def space(params: Params, data: Dataset) -> Space:
    """What the classifier's last layer sees: 512 numbers."""
    model = classifier.load(paths.evaluator(params.workload), ROTATIONS)
    return network_space("rotation", model.features)


def metrics(params: Params, out: Path) -> dict[str, float]:
    """None: it cannot tell what an image was to show."""
    return {}


def scorer(params: Params) -> Score:
    """None either."""
    return lambda target, generated: {}
