"""An evaluator that tells which objects an image shows, where, and how large.

Where nobody knows what the images show it is that of rotations; its provenance says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.files import Cell, write_csv
from lockstep.core.pixels import to_bytes
from lockstep.core.provenance import write_provenance
from lockstep.data import captions
from lockstep.data.annotations import Arrays, PromptContent, read_annotations
from lockstep.data.dataset import Dataset, open_dataset
from lockstep.evaluation import classifier, clip_score, scene_evaluator, scene_metrics
from lockstep.evaluation.clip_score import Clip
from lockstep.evaluation.evaluators import Score, rotation
from lockstep.evaluation.jackknife import Estimate, of_mean
from lockstep.evaluation.rows import ImageFiles, Rows, SplitImages
from lockstep.evaluation.scene_evaluator import Detections, Scenes
from lockstep.evaluation.space import Space, network_space
from lockstep.models.text import SCRATCH, clip_files
from lockstep.sampling.targets import ImageSet, of_seed, seeds_of

ACCURACY = "object accuracy"
# Of what is found in scenes, the columns of a sweep's table.
_SWEPT = ("object_accuracy", "binding_accuracy", "relation_accuracy")
_BATCH = 256

Row = dict[str, Cell]


def train(params: Params, out: Path) -> dict[str, float]:
    """Train it; gives its accuracies.

    Raises `LockstepError` if there are too few images, or what is known of them is damaged.
    """
    data = open_dataset(paths.dataset(params.workload))
    shown = captions.shown_by_rows(data.folder)
    if shown is None:
        metrics = classifier.of_rotations(params, data, out)
        learnt = scene_evaluator.ROTATIONS
    else:

        def scenes(split: str) -> Scenes:
            own = data.indices(split)
            some = Arrays(shown.present[own], shown.place[own], shown.large[own])
            return Scenes(SplitImages(data, split), some)

        model = scene_evaluator.train(params, scenes("evaluator_train"))
        scene_evaluator.save(model, out)
        metrics = scene_evaluator.held_out(model, scenes("evaluator_validation"))
        learnt = scene_evaluator.SCENES
    write_provenance(out, params.values("evaluator"), learnt=learnt)
    return metrics


def space(params: Params, data: Dataset) -> Space:
    """What the evaluator's last layer sees: 512 numbers."""
    folder = paths.evaluator(params.workload)
    if not scene_evaluator.is_in(folder):
        return rotation.space(params, data)
    return network_space("classifier", scene_evaluator.load(folder).features)


def metrics(params: Params, out: Path) -> dict[str, float]:
    """The means over the seeds; of the accuracies their standard deviation (`_sd`), if several.

    Those of `scene_metrics` are there where it is known what the prompts state, and `clip_score`
    where `text.encoder` is a CLIP that has a vision half too.

    In `out`, `prompts.csv` says the same of each prompt, over all seeds, and `kinds.csv` of each
    kind of them where it is known what they state. All processes take part; the first one writes.
    Raises `LockstepError` if evaluator, images, caption files or CLIP are missing or do not fit
    each other.
    """
    folder = paths.dataset(params.workload)
    with distributed.together():
        targets = captions.read_test(folder / captions.TEST)
        known = read_annotations(folder)
        evaluator = (
            None if known is None else scene_evaluator.load(paths.evaluator(params.workload))
        )
        clip = _clip(params)
    contents = [] if known is None else [known.test[name] for name in targets]
    generated = []
    for number, seed in enumerate(seeds_of(paths.samples(params.workload))):
        there = of_seed(paths.samples(params.workload), number, seed)
        generated.append(ImageFiles([there / captions.image_of(name) for name in targets]))
    prompts: list[Row] = [{"id": name, "prompt": prompt} for name, prompt in targets.items()]
    places = by_kind(targets)
    kinds: list[Row] = [{"kind": kind, "prompts": len(some)} for kind, some in places.items()]
    rows = [*zip(prompts, ([i] for i in range(len(targets))), strict=True)]
    rows += zip(kinds, places.values(), strict=True)
    found: dict[str, float] = {}
    if evaluator is not None:
        each = [scene_evaluator.detect(evaluator, images) for images in generated]
        found |= scene_metrics.metrics(each, contents)
        for row, some in rows:
            row |= shares(each, contents, some)
    if clip is not None:
        said = list(targets.values())
        scores = torch.stack([_clip_scores(clip, images, said) for images in generated])
        found |= Estimate(scores.mean().item(), of_mean(scores.flatten()).error).named("clip_score")
        for row, some in rows:
            row["clip_score"] = scores[:, some].mean().item()
    if found and distributed.is_main():
        write_csv(out / "prompts.csv", prompts)
        if evaluator is not None:  # without what the prompts state the ids are somebody's own
            write_csv(out / "kinds.csv", kinds)
    return found


def scorer(params: Params) -> Score:
    """What is found of what the test prompts state, if that is known."""
    folder = paths.dataset(params.workload)
    known = read_annotations(folder)
    if known is None:
        return lambda target, generated: {}
    evaluator = scene_evaluator.load(paths.evaluator(params.workload))
    contents = [known.test[name] for name in captions.read_test(folder / captions.TEST)]

    def score(target: ImageSet, generated: Tensor) -> dict[str, float]:
        detected = scene_evaluator.detect(evaluator, to_bytes(generated))
        found = scene_metrics.of_images(detected, contents)
        return {name: found[name] for name in _SWEPT if name in found}

    return score


def by_kind(targets: Mapping[str, str]) -> dict[str, list[int]]:
    """The places of each kind of prompt: what stands before the last underscore of the ids.

    Ids without one are of the kind `other`.
    """
    found = defaultdict(list)
    for place, name in enumerate(targets):
        found[name.rpartition("_")[0] or "other"].append(place)
    return dict(found)


def shares(
    each: Sequence[Detections], contents: Sequence[PromptContent], some: Sequence[int]
) -> Row:
    """What the evaluator says of some prompts, over all seeds; empty where nothing is to count.

    `objects` are those found of those requested, `binding` and `relation` the accuracies of
    `scene_metrics`, and `false_objects` those that nobody requested, per image.
    """
    own = Detections(
        *(torch.cat([part[list(some)] for part in parts]) for parts in zip(*each, strict=True))
    )
    here = scene_metrics.of_images(own, [contents[i] for i in some] * len(each))
    return {
        "objects": here["object_accuracy"],
        "binding": here.get("binding_accuracy", ""),
        "relation": here.get("relation_accuracy", ""),
        "false_objects": here["false_objects"],
    }


def _clip(params: Params) -> Clip | None:
    """The CLIP that reads the prompts, if it has a half for images too."""
    if params.text.encoder == SCRATCH:
        return None
    source = clip_files.given(params.text.encoder, params.text.encoder_sha256)
    return clip_score.load(source) if clip_files.kind(source) == "clip" else None


def _clip_scores(clip: Clip, images: Rows, prompts: Sequence[str]) -> Tensor:
    """(N,) of (N, H, W, 3) bytes; several processes share them, and each gets all scores."""
    each = []
    for start in range(0, len(images), _BATCH):
        batch, said = images[start : start + _BATCH], prompts[start : start + _BATCH]
        own = distributed.share(len(batch))
        scores = clip.scores(batch[own], said[own]) if said[own] else np.empty(0)
        each.append(distributed.gather(torch.from_numpy(scores), len(batch)))
    return torch.cat(each)
