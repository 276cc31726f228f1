"""The eyes that measure a workload, written into a folder."""

from __future__ import annotations

from pathlib import Path

from lockstep import captioned, content, paths, records
from lockstep.dataset import Dataset, open_dataset
from lockstep.device import resolve_precision
from lockstep.evaluation import (
    classifier,
    classifier_training,
    dlib_network,
    rotation,
    scene_judge,
    scene_judge_training,
)
from lockstep.evaluation.classifier import Classifier
from lockstep.evaluation.examples import Examples, labelled
from lockstep.evaluation.rows import SplitPictures
from lockstep.evaluation.scene_judge_training import Scenes
from lockstep.params import Params
from lockstep.stage import progress
from lockstep.truth import Arrays


def of_labels(params: Params, out: Path) -> dict[str, float]:
    """A classifier: trained here, or the official checkpoint. Gives its accuracy.

    Raises
    ------
    LockstepError
        If the checkpoint is not the one of params.yaml, or does not fit the labels.
    """
    data = open_dataset(paths.dataset(params.workload))
    labels = data.conditions.shape[1]
    settings = params.judge
    if settings.checkpoint is not None:
        checkpoint = content.verified(
            settings.checkpoint, settings.checkpoint_sha256, "judge.checkpoint"
        )
        model = classifier.official(checkpoint, labels)
    else:
        model = _trained(params, labelled(data, "judge_train"))
    records.write(out / paths.JUDGE, params.values("judge"))
    held_out = labelled(data, "judge_validation")
    return _measured("evaluator_accuracy", model, held_out, out)


def of_rotations(params: Params, out: Path) -> dict[str, float]:
    """A classifier that tells which way up a picture is. Gives its accuracy.

    Raises
    ------
    LockstepError
        If there are too few pictures.
    """
    records.write(out / paths.JUDGE, params.values("judge"))
    return _tells_rotations(params, open_dataset(paths.dataset(params.workload)), out)


def of_scenes(params: Params, out: Path) -> dict[str, float]:
    """A judge that tells which objects a picture shows, where, and how large. Gives its accuracies.

    Where nobody knows what the pictures show it is that of `of_rotations`; `judge.learnt` says so.

    Raises
    ------
    LockstepError
        If there are too few pictures, or what is known of them is damaged.
    """
    data = open_dataset(paths.dataset(params.workload))
    shown = captioned.shown_by_rows(data.folder)
    if shown is None:
        figures, learnt = _tells_rotations(params, data, out), scene_judge.ROTATIONS
    else:

        def scenes(split: str) -> Scenes:
            own = data.indices(split)
            some = Arrays(shown.present[own], shown.place[own], shown.large[own])
            return Scenes(SplitPictures(data, split), some)

        precision = resolve_precision(params.judge.precision, "judge.precision")
        bar = progress(f"judge {params.workload}", "step")
        model = scene_judge_training.train(scenes("judge_train"), params.judge, precision, bar)
        scene_judge.save(model, out)
        held_out = scenes("judge_validation")
        figures, learnt = scene_judge_training.held_out(model, held_out), scene_judge.SCENES
    records.write(out / paths.JUDGE, {scene_judge.LEARNT: learnt, **params.values("judge")})
    return figures


def _tells_rotations(params: Params, data: Dataset, out: Path) -> dict[str, float]:
    """Train the classifier of `of_rotations` and write it; gives its accuracy."""
    model = _trained(params, rotation.rotated(data, "judge_train"))
    held_out = rotation.rotated(data, "judge_validation")
    return _measured("rotation_accuracy", model, held_out, out)


def _trained(params: Params, examples: Examples) -> Classifier:
    precision = resolve_precision(params.judge.precision, "judge.precision")
    bar = progress(f"judge {params.workload}", "step")
    return classifier_training.train(examples, params.judge, precision, bar)


def _measured(name: str, model: Classifier, held_out: Examples, out: Path) -> dict[str, float]:
    """Write an evaluator; gives its accuracy, called `name`, where pictures are held out."""
    classifier.save(model, out)
    accuracy = classifier_training.accuracy(model, held_out)
    return {} if accuracy is None else {name: accuracy}


def of_faces(params: Params, out: Path) -> dict[str, float]:
    """dlib's face embedding, which is trained already: what it is.

    Raises
    ------
    LockstepError
        If face_recognition cannot be used.
    """
    records.write(out / paths.JUDGE, dlib_network.description())
    return {}
