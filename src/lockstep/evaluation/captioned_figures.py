"""How well the generated images show what their prompts say, all together and prompt by prompt."""

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
from lockstep.data import captions
from lockstep.data.annotations import Stated, read_annotations
from lockstep.evaluation import clip_score, scene_evaluator, scene_figures
from lockstep.evaluation.clip_score import Clip
from lockstep.evaluation.rows import ImageFiles, Rows
from lockstep.evaluation.scene_evaluator import Detections
from lockstep.models.text import SCRATCH, clip_files
from lockstep.sampling.samples import of_seed, seeds_of

Row = dict[str, Cell]

_BATCH = 256


def figures(params: Params, out: Path) -> dict[str, float]:
    """The means over the seeds; of the accuracies their standard deviation (`_sd`), if several.

    Those of `scene_figures` are there where it is known what the prompts state, and `clip_score`
    where `text.encoder` is a CLIP that has a vision half too.

    In `out`, `prompts.csv` says the same of each prompt, over all seeds, and `kinds.csv` of each
    kind of them where it is known what they state. All processes take part; the first one writes.

    Raises
    ------
    LockstepError
        If evaluator, images, caption files or CLIP are missing or do not fit each other.
    """
    folder = paths.dataset(params.workload)
    with distributed.together():
        targets = captions.read_test(folder / captions.TEST)
        known = read_annotations(folder)
        evaluator = (
            None if known is None else scene_evaluator.load(paths.evaluator(params.workload))
        )
        clip = _clip(params)
    stated = [] if known is None else [known.test[name] for name in targets]
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
        found |= scene_figures.figures(each, stated)
        for row, some in rows:
            row |= shares(each, stated, some)
    if clip is not None:
        said = list(targets.values())
        scores = torch.stack([_clip_scores(clip, images, said) for images in generated])
        found["clip_score"] = scores.mean().item()
        for row, some in rows:
            row["clip_score"] = scores[:, some].mean().item()
    if found and distributed.is_main():
        write_csv(out / "prompts.csv", prompts)
        if evaluator is not None:  # without what the prompts state the ids are somebody's own
            write_csv(out / "kinds.csv", kinds)
    return found


def by_kind(targets: Mapping[str, str]) -> dict[str, list[int]]:
    """The places of each kind of prompt: what stands before the last underscore of the ids.

    Ids without one are of the kind `other`.
    """
    found = defaultdict(list)
    for place, name in enumerate(targets):
        found[name.rpartition("_")[0] or "other"].append(place)
    return dict(found)


def shares(each: Sequence[Detections], stated: Sequence[Stated], some: Sequence[int]) -> Row:
    """What the evaluator says of some prompts, over all seeds; empty where nothing is to count.

    `objects` are those found of those requested, `binding` and `relation` the accuracies of
    `scene_figures`, and `false_objects` those that nobody requested, per image.
    """
    own = Detections(
        *(torch.cat([part[list(some)] for part in parts]) for parts in zip(*each, strict=True))
    )
    here = scene_figures.of_images(own, [stated[i] for i in some] * len(each))
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
        scores = clip.scores(batch[own], said[own]).each if said[own] else np.empty(0)
        each.append(distributed.gather(torch.from_numpy(scores), len(batch)))
    return torch.cat(each)
