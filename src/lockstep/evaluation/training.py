"""Classifiers as evaluators: trained on a workload's own images, measured on held-out ones."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core.device import resolve_precision
from lockstep.core.processes import progress
from lockstep.data.dataset import Dataset
from lockstep.evaluation import classifier, classifier_training, rotation
from lockstep.evaluation.classifier import Classifier
from lockstep.evaluation.examples import Examples


def trained(params: Params, examples: Examples) -> Classifier:
    """A classifier as `params.evaluator` says. Raises `LockstepError` if there are too few."""
    precision = resolve_precision(params.evaluator.precision, "evaluator.precision")
    bar = progress(f"evaluator {params.workload}", "step")
    return classifier_training.train(examples, params.evaluator, precision, bar)


def measured(name: str, model: Classifier, held_out: Examples, out: Path) -> dict[str, float]:
    """Write an evaluator; gives its accuracy, called `name`, where images are held out."""
    classifier.save(model, out)
    accuracy = classifier_training.accuracy(model, held_out)
    return {} if accuracy is None else {name: accuracy}


def of_rotations(params: Params, data: Dataset, out: Path) -> dict[str, float]:
    """Train a classifier that tells which way up an image is, and write it.

    Gives its accuracy. Raises `LockstepError` if there are too few images.
    """
    model = trained(params, rotation.rotated(data, "evaluator_train"))
    held_out = rotation.rotated(data, "evaluator_validation")
    return measured("rotation_accuracy", model, held_out, out)
