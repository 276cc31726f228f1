"""How well the generated images show what was requested, as the workload's classifier sees it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor

from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.files import Cell, write_csv
from lockstep.core.images import read_images
from lockstep.core.pixels import to_tensor
from lockstep.core.weights import read_tensors
from lockstep.data.dataset import open_dataset
from lockstep.evaluation import accuracy, classifier
from lockstep.sampling.conditions import condition_of
from lockstep.sampling.samples import of_seed, seeds_of


@dataclass(frozen=True)
class Scored:
    """A set of images of all seeds: what was requested (N, L) and the scores (N, L)."""

    name: str
    labels: Tensor
    scores: Tensor


def figures(params: Params, out: Path) -> dict[str, float]:
    """The means over the seeds; of the accuracies their standard deviation (`_sd`), if several.

    In `out`, `objects.csv` and `sizes.csv` say the same for each object and for each number of
    objects in an image, over all seeds. All processes take part; the first one writes.

    Raises
    ------
    LockstepError
        If evaluator, images or label files are missing or do not fit each other.
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
            found[f"accuracy_{name}"].append(accuracy.top_k_accuracy(scores, labels))
            found[f"accuracy_png_{name}"].append(accuracy.top_k_accuracy(from_files, labels))
            found[f"exact_match_{name}"].append(accuracy.exact_match(scores, labels))
            found[f"false_objects_{name}"].append(accuracy.false_objects(scores, labels))
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
    return means


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
    """A row for each set and number of objects requested: how many images, and the figures."""
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
