"""An evaluator that tells which objects an image shows, where, and how large.

Where nobody knows what the images show it is that of rotations; its provenance says so.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.device import resolve_precision
from lockstep.core.pixels import to_bytes
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.data import captions
from lockstep.data.annotations import Arrays, read_annotations
from lockstep.data.dataset import Dataset, open_dataset
from lockstep.evaluation import (
    captioned_figures,
    classifier_training,
    scene_evaluator,
    scene_evaluator_training,
    scene_figures,
)
from lockstep.evaluation.evaluators import Score, rotation
from lockstep.evaluation.rows import SplitImages
from lockstep.evaluation.scene_evaluator_training import Scenes
from lockstep.evaluation.spaces import Space, network_space
from lockstep.sampling.targets import ImageSet

ACCURACY = "object accuracy"
# Of what is found in scenes, the columns of a sweep's table.
_SWEPT = ("object_accuracy", "binding_accuracy", "relation_accuracy")


def train(params: Params, out: Path) -> dict[str, float]:
    """Train it; gives its accuracies.

    Raises
    ------
    LockstepError
        If there are too few images, or what is known of them is damaged.
    """
    data = open_dataset(paths.dataset(params.workload))
    shown = captions.shown_by_rows(data.folder)
    if shown is None:
        figures, learnt = (
            classifier_training.of_rotations(params, data, out),
            scene_evaluator.ROTATIONS,
        )
    else:

        def scenes(split: str) -> Scenes:
            own = data.indices(split)
            some = Arrays(shown.present[own], shown.place[own], shown.large[own])
            return Scenes(SplitImages(data, split), some)

        precision = resolve_precision(params.evaluator.precision, "evaluator.precision")
        bar = progress(f"evaluator {params.workload}", "step")
        model = scene_evaluator_training.train(
            scenes("evaluator_train"), params.evaluator, precision, bar
        )
        scene_evaluator.save(model, out)
        held_out = scenes("evaluator_validation")
        figures = scene_evaluator_training.held_out(model, held_out)
        learnt = scene_evaluator.SCENES
    write_provenance(out, params.values("evaluator"), learnt=learnt)
    return figures


def space(params: Params, data: Dataset) -> Space:
    """What the evaluator's last layer sees: 512 numbers."""
    folder = paths.evaluator(params.workload)
    if not scene_evaluator.is_in(folder):
        return rotation.space(params, data)
    return network_space("classifier", scene_evaluator.load(folder).features)


def figures(params: Params, out: Path) -> dict[str, float]:
    """See `lockstep.evaluation.captioned_figures.figures`."""
    return captioned_figures.figures(params, out)


def scorer(params: Params) -> Score:
    """What is found of what the test prompts state, if that is known."""
    folder = paths.dataset(params.workload)
    known = read_annotations(folder)
    if known is None:
        return lambda target, generated: {}
    evaluator = scene_evaluator.load(paths.evaluator(params.workload))
    stated = [known.test[name] for name in captions.read_test(folder / captions.TEST)]

    def score(target: ImageSet, generated: Tensor) -> dict[str, float]:
        seen = scene_evaluator.detect(evaluator, to_bytes(generated))
        found = scene_figures.of_images(seen, stated)
        return {name: found[name] for name in _SWEPT if name in found}

    return score
