"""A classifier of labels or classes: trained here, or the official checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lockstep.config.schema import Params
from lockstep.core import hashing, paths
from lockstep.core.provenance import write_provenance
from lockstep.data.dataset import Dataset, open_dataset
from lockstep.evaluation import accuracy, classifier, classifier_training, labelled
from lockstep.evaluation.classifier_training import of_split
from lockstep.evaluation.evaluators import Score
from lockstep.evaluation.spaces import Space, network_space
from lockstep.sampling.targets import ImageSet

ACCURACY = "mean accuracy"


def train(params: Params, out: Path) -> dict[str, float]:
    """Train a classifier or take the official one; gives its accuracy on held-out images.

    Raises
    ------
    LockstepError
        If the checkpoint is not the one of params.yaml, or does not fit the labels.
    """
    data = open_dataset(paths.dataset(params.workload))
    settings = params.evaluator
    if settings.checkpoint is not None:
        checkpoint = hashing.verified(
            settings.checkpoint, settings.checkpoint_sha256, "evaluator.checkpoint"
        )
        model = classifier.official(checkpoint, data.conditions.shape[1])
    else:
        model = classifier_training.trained(params, of_split(data, "evaluator_train"))
    write_provenance(out, params.deciding("evaluator"))
    held_out = of_split(data, "evaluator_validation")
    return classifier_training.measured("evaluator_accuracy", model, held_out, out)


def space(params: Params, data: Dataset) -> Space:
    """What the classifier's last layer sees: 512 numbers."""
    labels = data.conditions.shape[1]
    model = classifier.load(paths.evaluator(params.workload), labels)
    return network_space("classifier", model.features)


def figures(params: Params, out: Path) -> dict[str, float]:
    """See `lockstep.evaluation.labelled.figures`."""
    return labelled.figures(params, out)


def scorer(params: Params) -> Score:
    """The accuracy of each set, as `accuracy_<set>`."""
    labels = open_dataset(paths.dataset(params.workload)).conditions.shape[1]
    evaluator = classifier.load(paths.evaluator(params.workload), labels)

    def score(target: ImageSet, generated: Tensor) -> dict[str, float]:
        scores = classifier.scores(evaluator, generated)
        requested = target.conditions.values.to(torch.uint8)
        return {f"accuracy_{target.name}": accuracy.top_k_accuracy(scores, requested)}

    return score
