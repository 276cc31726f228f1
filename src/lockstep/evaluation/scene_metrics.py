"""How well images show what sentences say: metrics from what the evaluator of scenes says.

A metric is None where no prompt has anything for it to count. Chance is what an evaluator gets
whose scores and places say nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lockstep.data.annotations import PromptContent, lead, number_of
from lockstep.evaluation import accuracy, jackknife
from lockstep.evaluation.scene_evaluator import OBJECTS, Detections

_SPREAD = (
    "object_accuracy",
    "binding_accuracy",
    "relation_accuracy",
    "relation_accuracy_found",
    "size_accuracy",
)


def metrics(each: Iterable[Detections], prompts: Sequence[PromptContent]) -> dict[str, float]:
    """The means over the seeds with their standard errors (`_se`).

    Of the accuracies there is their standard deviation over the seeds too (`_sd`), if several.
    `each` is what the evaluator says of the N images of a seed, `prompts` what they are to show;
    for the errors each image counts as a draw of its own, whatever it is to show.
    """
    seeds = list(each)
    found: dict[str, list[float]] = defaultdict(list)
    for detected in seeds:
        for name, value in of_images(detected, prompts).items():
            found[name].append(value)
    means = {name: fmean(values) for name, values in found.items()}
    for name in _SPREAD:
        if len(found[name]) > 1:
            means[f"{name}_sd"] = stdev(found[name])
    united = Detections(*(torch.cat(parts) for parts in zip(*seeds, strict=True)))
    said = list(prompts) * len(seeds)

    def of_some(kept: NDArray[np.int64]) -> dict[str, float]:
        return of_images(Detections(*(part[kept] for part in united)), [said[i] for i in kept])

    return means | jackknife.standard_errors(of_some, len(said), (*_SPREAD, "false_objects"))


def of_images(detected: Detections, prompts: Sequence[PromptContent]) -> dict[str, float]:
    """The metrics of one set of images; those without anything to count are left out.

    `object_accuracy`: of an image's k named objects those among its k highest scores, a micro
    average. `false_objects`: those scored above one half that the sentence does not name, per
    image; mistakes only where sentences name all that an image is to show.
    """
    labels = named(prompts)
    values = {
        "object_accuracy": accuracy.top_k_accuracy(detected.present, labels),
        "object_accuracy_chance": object_chance(prompts),
        "binding_accuracy": binding_accuracy(detected, prompts),
        **relations(detected, prompts),
        "size_accuracy": size_accuracy(detected, prompts),
        "false_objects": accuracy.false_objects(detected.present, labels),
    }
    return {name: value for name, value in values.items() if value is not None}


def named(prompts: Sequence[PromptContent]) -> Tensor:
    """(N, 24) uint8: 1 for each object that a prompt names."""
    labels = torch.zeros(len(prompts), OBJECTS, dtype=torch.uint8)
    for row, prompt in zip(labels, prompts, strict=True):
        row[_ids(prompt)] = 1
    return labels


def object_chance(prompts: Sequence[PromptContent]) -> float:
    """The object accuracy of k objects picked blindly: each is right with probability k / 24."""
    sizes = [len(prompt.objects) for prompt in prompts]
    return sum(k * k for k in sizes) / OBJECTS / sum(sizes)


def binding_accuracy(detected: Detections, prompts: Sequence[PromptContent]) -> float | None:
    """Whether colours are on the shapes that they were said of, and not on each other's.

    Counts prompts of two objects that differ in colour and in shape. With the scores p as
    probabilities of objects that know nothing of each other, A and B those named, and A' and B'
    with the colours swapped, the pairing is right if "A and B are there, A' and B' are not" is
    likelier than the reverse:

        p_A p_B (1 - p_A') (1 - p_B')  >  p_A' p_B' (1 - p_A) (1 - p_B)

    which is a greater sum of logits. An image that shows neither pairing is decided by what is
    left of the scores, for it says nothing of the colours: half of such images count. One named
    object alone is evidence for its pairing; exactly equal evidence counts one half. Chance is
    1/2.
    """
    right = []
    for prompt, row in zip(prompts, detected.present.double(), strict=True):
        if (swapped := _swapped(prompt)) is None:
            continue
        named, other = row[_ids(prompt)], row[swapped]
        difference = named.prod() * (1 - other).prod() - other.prod() * (1 - named).prod()
        right.append((torch.sign(difference).item() + 1) / 2)
    return fmean(right) if right else None


def _swapped(prompt: PromptContent) -> list[int] | None:
    """The ids of a prompt's two objects with each other's colours, if that makes other ones."""
    if len(prompt.objects) != 2:
        return None
    first, second = (item.name.split() for item in prompt.objects)
    if any(one == other for one, other in zip(first, second, strict=True)):
        return None
    (colour, shape), (other_colour, other_shape) = first, second
    return [number_of(f"{other_colour} {shape}"), number_of(f"{colour} {other_shape}")]


def relations(detected: Detections, prompts: Sequence[PromptContent]) -> dict[str, float | None]:
    """Of the prompts with a relation: whether their two objects are found, and stand as was said.

    Found is what `object_accuracy` counts: among the k highest scores. Nearer is lower in the
    image. `relation_accuracy` is the share of prompts where both are found and stand so, and
    `relation_accuracy_chance` the same if found objects stood anyhow: half the share where both
    are found. `relation_accuracy_found` is of those alone; its chance is 1/2.
    """
    hits = accuracy.found(detected.present, named(prompts))
    found, stands = [], []
    for prompt, row, place in zip(prompts, hits, detected.place, strict=True):
        if (relation := prompt.relation) is not None:
            ids = _ids(prompt)
            pair = [ids[relation.first], ids[relation.second]]
            (x, y), (other_x, other_y) = place[pair].tolist()
            found.append(bool(row[pair].all()))
            stands.append(lead(relation.kind, (x, y), (other_x, other_y)) > 0)
    both, right = torch.tensor(found, dtype=torch.bool), torch.tensor(stands, dtype=torch.bool)
    share = _share(both)
    return {
        "relation_accuracy": _share(both & right),
        "relation_accuracy_chance": None if share is None else share / 2,
        "relation_accuracy_found": _share(right[both]),
    }


def size_accuracy(detected: Detections, prompts: Sequence[PromptContent]) -> float | None:
    """Of the sizes said of objects that are found, those that are right."""
    hits = accuracy.found(detected.present, named(prompts))
    right = [
        (large[i] > 0.5).item() == (item.size == "large")
        for prompt, row, large in zip(prompts, hits, detected.large, strict=True)
        for i, item in zip(_ids(prompt), prompt.objects, strict=True)
        if item.size is not None and row[i]
    ]
    return _share(torch.tensor(right))


def _ids(prompt: PromptContent) -> list[int]:
    return [number_of(item.name) for item in prompt.objects]


def _share(flags: Tensor) -> float | None:
    return flags.double().mean().item() if len(flags) else None
