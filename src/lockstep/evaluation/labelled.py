"""How well the drawn pictures show what was asked for, as the workload's classifier sees it."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, stdev

import torch

from lockstep import paths, prompts
from lockstep.evaluation import accuracy, classifier
from lockstep.params import Params
from lockstep.pictures import read_pictures
from lockstep.pixels import to_tensor
from lockstep.weights import read_tensors


def figures(params: Params) -> dict[str, float]:
    """The means over the seeds; of the accuracies their standard deviation (`_sd`) too.

    All processes take part.

    Raises
    ------
    LockstepError
        If judge, pictures or label files are missing or do not fit each other.
    """
    asked = prompts.of_labels(params).sets
    judge = classifier.load(paths.judge(params.workload), asked[0].labels.shape[1])
    found: dict[str, list[float]] = defaultdict(list)
    for number, seed in enumerate(params.evaluate.seeds):
        drawn = paths.drawn(paths.samples(params.workload), number, seed)
        tensors = read_tensors(drawn / "tensors.safetensors")
        for wanted in asked:
            name, labels = wanted.name, wanted.labels.to(torch.uint8)
            scores = classifier.scores(judge, tensors[name])
            files = [drawn / wanted.file.format(i) for i in range(len(labels))]
            from_files = classifier.scores(judge, to_tensor(read_pictures(files)))
            found[f"accuracy_{name}"].append(accuracy.top_k_accuracy(scores, labels))
            found[f"accuracy_png_{name}"].append(accuracy.top_k_accuracy(from_files, labels))
            found[f"exact_match_{name}"].append(accuracy.exact_match(scores, labels))
            found[f"false_objects_{name}"].append(accuracy.false_objects(scores, labels))
    means = {name: fmean(values) for name, values in found.items()}
    for wanted in asked:
        values = found[f"accuracy_{wanted.name}"]
        means[f"accuracy_{wanted.name}_sd"] = stdev(values) if len(values) > 1 else 0.0
    return means
