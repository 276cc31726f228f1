"""The eyes that measure a workload, written into a folder."""

from __future__ import annotations

from pathlib import Path

from lockstep import content, paths, records
from lockstep.dataset import open_dataset
from lockstep.device import resolve_precision
from lockstep.evaluation import classifier, classifier_training, dlib_network
from lockstep.params import Params
from lockstep.stage import progress


def of_labels(params: Params, out: Path) -> dict[str, float]:
    """A classifier: trained here, or the official checkpoint. Gives its accuracy.

    Raises
    ------
    LockstepError
        If the checkpoint is not the one of params.yaml, or does not fit the labels.
    """
    data = open_dataset(paths.dataset(params.workload))
    labels = data.conditions.shape[1]
    if params.judge.checkpoint is not None:
        checkpoint = paths.home() / params.judge.checkpoint
        content.verify(checkpoint, params.judge.checkpoint_sha256, "judge.checkpoint")
        model = classifier.official(checkpoint, labels)
    else:
        precision = resolve_precision(params.judge.precision, "judge.precision")
        bar = progress(f"judge {params.workload}", "step")
        model = classifier_training.train(data, params.judge, precision, bar)
    accuracy = classifier_training.held_out_accuracy(model, data)
    classifier.save(model, out)
    records.write(out / paths.JUDGE, params.values("judge"))
    return {} if accuracy is None else {"evaluator_accuracy": accuracy}


def of_faces(params: Params, out: Path) -> dict[str, float]:
    """dlib's face embedding, which is trained already: what it is.

    Raises
    ------
    LockstepError
        If face_recognition cannot be used.
    """
    records.write(out / paths.JUDGE, dlib_network.description())
    return {}
