"""The feature spaces in which a workload's images are compared."""

from __future__ import annotations

from lockstep.config.schema import Params
from lockstep.data.dataset import Dataset
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.evaluation.spaces import Space, inception_space


def spaces_of(params: Params, data: Dataset) -> list[Space]:
    """The evaluator's space first; Inception's too if `evaluate.fid` asks for it.

    Raises
    ------
    LockstepError
        If a network's weights are missing, damaged or another one's.
    """
    own = evaluator_of(params).space(params, data)
    return [own, inception_space(params)] if params.evaluate.fid else [own]
