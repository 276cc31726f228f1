"""What the evaluator sees in an image, beside what was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lockstep.app.kept import Kept
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.pixels import to_tensor
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.evaluation import classifier, scene_evaluator
from lockstep.evaluation.classifier import Classifier
from lockstep.evaluation.scene_evaluator import SceneEvaluator
from lockstep.models.text.tokenizer import split
from lockstep.sampling.conditions.names import read_names

_THERE = 0.5
State = Literal["right", "missing", "unasked", "size"]
_SIZES = ("small", "large")
_OBJECTS = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)
_OBJECT = re.compile(rf"\b(?:({'|'.join(_SIZES)}) )?({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})")


@dataclass(frozen=True)
class Seen:
    """An object (or class): seen as asked for (`right`), asked for and not seen (`missing`), seen
    and not asked for (`unasked`), or seen in another size than the sentence says (`size`)."""

    name: str
    state: State


@dataclass(frozen=True)
class Verdict:
    """What an evaluator sees in one image.

    `right` says whether that is what was asked for, no more and no less; None where the request
    names nothing that the evaluator knows.
    """

    seen: tuple[Seen, ...]
    right: bool | None


Judge: TypeAlias = Callable[[NDArray[np.uint8], str | None], list[Verdict]]


def judge_of(params: Params, kept: Kept) -> Judge | None:
    """What gives a verdict on each of (N, H, W, 3) bytes that a text asked for.

    None where the evaluator cannot tell what an image shows. Raises `LockstepError` if its files
    are missing or damaged.
    """
    evaluator, model = paths.evaluator(params.workload), paths.model(params.workload)
    match params.evaluator.type:
        case "classifier":
            names = list(kept.get("names", (model,), lambda: read_names(model)))
            network = kept.get(
                "classifier", (evaluator,), lambda: classifier.load(evaluator, len(names))
            )
            one = params.condition == "classes"
            return lambda images, text: _labels(network, names, images, text or "", one)
        case "scenes" if scene_evaluator.is_in(evaluator):
            scenes = kept.get("scenes", (evaluator,), lambda: scene_evaluator.load(evaluator))
            return lambda images, text: _scenes(scenes, images, text or "")
        case _:
            return None


def _labels(
    network: Classifier, names: list[str], images: NDArray[np.uint8], text: str, one: bool
) -> list[Verdict]:
    """Of labels those above one half; of classes the likeliest `one`."""
    scores = classifier.scores(network, to_tensor(images))
    asked = {text.strip()} if one else {name.strip() for name in text.split(",")} - {""}
    there = scores >= scores.max(1, keepdim=True).values if one else scores > _THERE
    found = []
    for row in there:
        shown = [name for name, is_there in zip(names, row.tolist(), strict=True) if is_there]
        seen = [Seen(name, "right" if name in asked else "unasked") for name in shown]
        missing = [] if one else [Seen(name, "missing") for name in names if name in asked]
        found.append(_verdict([*seen, *(s for s in missing if s.name not in shown)], asked))
    return found


def _scenes(network: SceneEvaluator, images: NDArray[np.uint8], text: str) -> list[Verdict]:
    asked = objects_in(text)
    detected = scene_evaluator.detect(network, images)
    found = []
    for present, large in zip(detected.present, detected.large, strict=True):
        seen = _objects(present, large, asked)
        found.append(_verdict(seen, set(asked)))
    return found


def _objects(present: Tensor, large: Tensor, asked: dict[str, str | None]) -> list[Seen]:
    seen, missing = [], []
    for name, score, large_score in zip(_OBJECTS, present.tolist(), large.tolist(), strict=True):
        size = _SIZES[large_score > _THERE]
        if score <= _THERE:
            missing += [Seen(name, "missing")] if name in asked else []
        elif name not in asked:
            seen.append(Seen(f"{size} {name}", "unasked"))
        else:
            wanted = asked[name]
            seen.append(Seen(f"{size} {name}", "right" if wanted in (None, size) else "size"))
    return [*seen, *missing]


def objects_in(text: str) -> dict[str, str | None]:
    """The objects that a sentence names, such as `red cube`, each with its size if that is said."""
    return {f"{colour} {shape}": size for size, colour, shape in _matches(" ".join(split(text)))}


def _matches(words: str) -> list[tuple[str | None, str, str]]:
    return [(m[1], m[2], m[3]) for m in _OBJECT.finditer(words)]


def _verdict(seen: list[Seen], asked: set[str]) -> Verdict:
    right = all(one.state == "right" for one in seen) if asked else None
    return Verdict(tuple(seen), right)
