"""What measures a workload's images, by the kind of the evaluator.

A module of this registry has

- `ACCURACY`: what the mean accuracy of its scores is called;
- `train(params, out) -> metrics`: fills the evaluator's folder;
- `space(params, data) -> Space`: the features in which sets of images are compared;
- `metrics(params, out) -> metrics`: of the generated images, with tables in the folder `out`;
- `scorer(params) -> Score`: how well images show what they were to, for sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from lockstep.config.schema import Params
from lockstep.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from lockstep.data.dataset import Dataset
    from lockstep.evaluation.space import Space
    from lockstep.sampling.targets import ImageSet

# What the images (N, 3, H, W) of a set say of it, by the names of a table's columns.
Score: TypeAlias = "Callable[[ImageSet, Tensor], dict[str, float]]"


class EvaluatorKind(Protocol):
    """A module of the registry."""

    ACCURACY: str

    def train(self, params: Params, out: Path) -> dict[str, float]: ...
    def space(self, params: Params, data: Dataset) -> Space: ...
    def metrics(self, params: Params, out: Path) -> dict[str, float]: ...
    def scorer(self, params: Params) -> Score: ...


REGISTRY: Registry[Params] = Registry(
    lambda params: params.evaluator.type,
    {
        "classifier": "lockstep.evaluation.evaluators.classifier",
        "rotation": "lockstep.evaluation.evaluators.rotation",
        "scenes": "lockstep.evaluation.evaluators.scenes",
        "dlib": "lockstep.evaluation.evaluators.dlib",
    },
)


def evaluator_of(params: Params) -> EvaluatorKind:
    """The module for a workload's evaluator."""
    return cast(EvaluatorKind, REGISTRY.load(params))
