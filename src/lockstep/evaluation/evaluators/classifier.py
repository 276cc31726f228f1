"""A classifier of labels or classes: trained here, or the official checkpoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.config.schema import Params
from lockstep.core import distributed, hashing, paths
from lockstep.core.files import Cell, write_csv
from lockstep.core.images import read_images
from lockstep.core.pixels import to_tensor
from lockstep.core.provenance import write_provenance
from lockstep.core.weights import read_tensors
from lockstep.data.dataset import Dataset, open_dataset
from lockstep.evaluation import accuracy, classifier, jackknife
from lockstep.evaluation.classifier import of_split
from lockstep.evaluation.evaluators import Score
from lockstep.evaluation.space import Space, network_space
from lockstep.sampling.conditions import condition_of
from lockstep.sampling.targets import ImageSet, of_seed, seeds_of

ACCURACY = "mean accuracy"


@dataclass(frozen=True)
class Scored:
    """A set of images of all seeds: what was requested (N, L) and the scores (N, L)."""

    name: str
    labels: Tensor
    scores: Tensor


def train(params: Params, out: Path) -> dict[str, float]:
    """Train a classifier or take the official one; gives its accuracy on held-out images.

    Raises `LockstepError` if the checkpoint is not the one of params.yaml, or does not fit the
    labels.
    """
    data = open_dataset(paths.dataset(params.workload))
    settings = params.evaluator
    if settings.checkpoint is not None:
        checkpoint = hashing.verified(
            settings.checkpoint, settings.checkpoint_sha256, "evaluator.checkpoint"
        )
        model = classifier.official(checkpoint, data.conditions.shape[1])
    else:
        model = classifier.train(params, of_split(data, "evaluator_train"))
    write_provenance(out, params.deciding("evaluator"))
    held_out = of_split(data, "evaluator_validation")
    return classifier.measured("evaluator_accuracy", model, held_out, out)


def space(params: Params, data: Dataset) -> Space:
    """What the classifier's last layer sees: 512 numbers."""
    labels = data.conditions.shape[1]
    model = classifier.load(paths.evaluator(params.workload), labels)
    return network_space("classifier", model.features)


def metrics(params: Params, out: Path) -> dict[str, float]:
    """The means over the seeds with their standard errors (`_se`).

    Of the accuracies there is their standard deviation over the seeds too (`_sd`), if several.

    In `out`, `objects.csv` and `sizes.csv` say the same for each object and for each number of
    objects in an image, over all seeds. All processes take part; the first one writes. Raises
    `LockstepError` if evaluator, images or label files are missing or do not fit each other.
    """
    with distributed.together():
        targets = condition_of(params).targets(params).sets
        evaluator = classifier.load(
            paths.evaluator(params.workload), targets[0].conditions.values.shape[1]
        )
    found: dict[str, list[float]] = defaultdict(list)
    scored = []
    seeds = seeds_of(paths.samples(params.workload))
    for number, seed in enumerate(seeds):
        generated = of_seed(paths.samples(params.workload), number, seed)
        tensors = read_tensors(generated / "tensors.safetensors")
        for target in targets:
            name, labels = target.name, target.conditions.values.to(torch.uint8)
            scores = classifier.scores(evaluator, tensors[name])
            files = [generated / file for file in target.files]
            from_files = classifier.scores(evaluator, to_tensor(read_images(files)))
            of_files = {f"accuracy_png_{name}": accuracy.top_k_accuracy(from_files, labels)}
            for metric, value in (_metrics(name, labels, scores) | of_files).items():
                found[metric].append(value)
            scored.append(Scored(name, labels, scores))
    if distributed.is_main():
        names = open_dataset(paths.dataset(params.workload)).names
        write_csv(out / "objects.csv", by_object(scored, names))
        write_csv(out / "sizes.csv", by_size(scored))
    means = {name: fmean(values) for name, values in found.items()}
    if len(seeds) > 1:
        for target in targets:
            name = f"accuracy_{target.name}"
            means[f"{name}_sd"] = stdev(found[name])
    return means | errors(scored)


def errors(scored: Sequence[Scored]) -> dict[str, float]:
    """The standard errors of the metrics of each set, as `<metric>_<set>_se`.

    Each image counts as a draw of its own, whatever was requested: where the same is requested
    again the error is less than this says.
    """
    return {name: error for one in _united(scored) for name, error in _errors(*one).items()}


def _errors(name: str, labels: Tensor, scores: Tensor) -> dict[str, float]:
    def of_some(kept: NDArray[np.int64]) -> dict[str, float]:
        return _metrics(name, labels[kept], scores[kept])

    return jackknife.standard_errors(of_some, len(labels), list(_metrics(name, labels, scores)))


def _metrics(name: str, labels: Tensor, scores: Tensor) -> dict[str, float]:
    return {
        f"accuracy_{name}": accuracy.top_k_accuracy(scores, labels),
        f"exact_match_{name}": accuracy.exact_match(scores, labels),
        f"false_objects_{name}": accuracy.false_objects(scores, labels),
    }


def scorer(params: Params) -> Score:
    """The accuracy of each set, as `accuracy_<set>`."""
    labels = open_dataset(paths.dataset(params.workload)).conditions.shape[1]
    evaluator = classifier.load(paths.evaluator(params.workload), labels)

    def score(target: ImageSet, generated: Tensor) -> dict[str, float]:
        scores = classifier.scores(evaluator, generated)
        requested = target.conditions.values.to(torch.uint8)
        return {f"accuracy_{target.name}": accuracy.top_k_accuracy(scores, requested)}

    return score


def by_object(scored: Sequence[Scored], objects: Sequence[str]) -> list[dict[str, Cell]]:
    """A row for each set and object.

    `requested` are the images that were to show it, `generated` those of them whose highest k
    scores have it, and `accuracy` is their quotient (empty where it was never requested);
    `unrequested` counts images that show it (above one half) and were not to.
    """
    rows: list[dict[str, Cell]] = []
    for name, labels, scores in _united(scored):
        found = accuracy.found(scores, labels)
        shown = (scores > 0.5) & ~labels.bool()
        for i, label in enumerate(objects):
            count, hits = int(labels[:, i].sum()), int(found[:, i].sum())
            rows.append(
                {
                    "set": name,
                    "object": label,
                    "requested": count,
                    "generated": hits,
                    "accuracy": hits / count if count else "",
                    "unrequested": int(shown[:, i].sum()),
                }
            )
    return rows


def by_size(scored: Sequence[Scored]) -> list[dict[str, Cell]]:
    """A row for each set and number of objects requested: how many images, and the metrics."""
    rows: list[dict[str, Cell]] = []
    for name, labels, scores in _united(scored):
        sizes = labels.sum(1)
        for size in sizes.unique().tolist():
            some = sizes == size
            rows.append(
                {
                    "set": name,
                    "objects": size,
                    "images": int(some.sum()),
                    "accuracy": accuracy.top_k_accuracy(scores[some], labels[some]),
                    "exact_match": accuracy.exact_match(scores[some], labels[some]),
                    "false_objects": accuracy.false_objects(scores[some], labels[some]),
                }
            )
    return rows


def _united(scored: Sequence[Scored]) -> Iterable[tuple[str, Tensor, Tensor]]:
    """The seeds of each set as one."""
    for name in dict.fromkeys(one.name for one in scored):
        own = [one for one in scored if one.name == name]
        yield (
            name,
            torch.cat([one.labels for one in own]),
            torch.cat([one.scores for one in own]),
        )
