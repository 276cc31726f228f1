"""Metrics, what they were at the last commit, and whether the change is a good one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from lockstep.core import paths
from lockstep.core.files import read_json
from lockstep.report import git, numbers

# The order of the pipeline; others come after.
_STAGES = (
    *("collect", "autoencoder", "evaluator", "noisy_classifier"),
    *("train", "evaluate", "sweep"),
)
# What a reader asks for first.
_KEY = (
    *("accuracy_test", "accuracy_new_test", "exact_match_test", "exact_match_new_test"),
    *("object_accuracy", "binding_accuracy", "relation_accuracy", "clip_score"),
    *("precision", "recall", "fid", "fd_*", "swd", "copies", "val_loss"),
)
_MOST_KEYS = 8
_MORE = (
    *("accuracy*", "*_accuracy", "*_accuracy_found", "exact_match*", "precision", "recall"),
    *("precision_*", "recall_*", "density_*", "coverage_*", "clip_score", "psnr"),
    "noisy_classifier_accuracy_*",
)
_LESS = (
    *("false_objects*", "fd_*", "fid", "kid_*", "swd", "copies*", "loss", "val_loss"),
    *("evaluator_place_error", "kept_*", "noisy_classifier_perplexity_*"),
)
# The first of these forms that a name has, or stage and name.
_MEANINGS = {
    "*_sd": "standard deviation over the seeds",
    "*_se": "standard error: how far other generated images would be off",
    "best_guidance_scale": "of the sweep: what gave the best accuracy, or else the least distance",
    "best_*": "of the sweep: with the best guidance scale",
    "accuracy_png_*": "the same of the PNG files, read back",
    "accuracy_*": "objects found, of those requested",
    "exact_match_*": "images with exactly the requested objects",
    "false_objects*": "objects not requested, per image",
    "object_accuracy": "objects found, of those that the prompts name",
    "object_accuracy_chance": "the same of objects picked blindly",
    "binding_accuracy": "colours on the shapes that they were said of; chance is one half",
    "relation_accuracy": "both objects found, and standing as was said",
    "relation_accuracy_chance": "the same if found objects stood anyhow",
    "relation_accuracy_found": "where both are found, standing as was said; chance is one half",
    "size_accuracy": "sizes as was said, of objects that are found",
    "clip_score": "how well images fit their prompts, by CLIP: 100 times the cosine",
    "evaluator_accuracy": "the evaluator's own, on images it has not seen",
    "rotation_accuracy": "the evaluator's own: which way up an image is, of four",
    "evaluator_place_error": "the evaluator's own: how far off places are, in sides of an image",
    "evaluator_size_accuracy": "the evaluator's own: sizes told right",
    "noisy_classifier_accuracy_*": "the noisy classifier's own, on held-out images at that t / T",
    "noisy_classifier_perplexity_*": "the noisy classifier's own, of a word of held-out prompts",
    "psnr": "the autoencoder's, of held-out images: signal to noise, in decibels",
    "precision_*": "generated images among the reference's, by features",
    "evaluate/recall_*": "of the reference, what is among the generated images, by features",
    "density_*": "in how crowded places of the reference generated images are, by features",
    "coverage_*": "of the reference, what has generated images beside it, by features",
    "authenticity_*": "generated images no nearer to a training image than its own neighbour",
    "precision": "of the kept ones, those that were right to keep",
    "recall": "of those to be kept, the kept ones",
    "recall_*": "the same in images of a kind",
    "kept_*": "of the faces unfit for that reason, the kept ones",
    "found": "faces, or files, that were looked at",
    "kept": "of them, those that passed the rules",
    "fid": "Fréchet distance, Inception",
    "fd_*": "Fréchet distance of features",
    "real_f*": "the same of as many images of the reference, from the rest of it",
    "kid_*": "kernel distance of features",
    "swd": "sliced Wasserstein distance of images",
    "copies_*": "generated images too near to a training image, by features",
    "copies": "generated images too near to a training image",
    "n_generated": "generated images compared",
    "n_reference": "images that they are compared with",
    "steps": "of training",
    "loss": "of training, at its end",
    "val_loss": "on held-out images, at the end",
}

Verdict = Literal["better", "worse", "changed", "same"]


@dataclass(frozen=True)
class Metric:
    """A metric now and at the last commit; None: it is not there.

    `spread` is its standard deviation over the seeds and `error` its standard error, where they are
    known.
    """

    stage: str
    name: str
    value: float | None
    before: float | None
    spread: float | None = None
    error: float | None = None

    @property
    def meaning(self) -> str:
        names = (self.name, f"{self.stage}/{self.name}")
        found = (
            said
            for form, said in _MEANINGS.items()
            if any(fnmatchcase(name, form) for name in names)
        )
        return next(found, "")

    @property
    def change(self) -> float | None:
        """None if there is nothing to compare."""
        if self.value is None or self.before is None:
            return None
        change = self.value - self.before
        return change if math.isfinite(change) else None

    @property
    def verdict(self) -> Verdict | None:
        if self.change is None:
            return None
        if self.change == 0:
            return "same"
        sign = direction(self.name)
        if sign == 0:
            return "changed"
        return "better" if self.change * sign > 0 else "worse"

    @property
    def text_spread(self) -> str:
        """As fine as the value."""
        return self._beside(self.spread)

    @property
    def text_error(self) -> str:
        """As fine as the value."""
        return self._beside(self.error)

    def _beside(self, spread: float | None) -> str:
        if self.value is None or spread is None:
            return ""
        return numbers.text(spread, numbers.decimals(self.value))

    @property
    def text_change(self) -> str:
        if self.change is None or self.value is None:
            return ""
        return numbers.change(self.change, like=self.value)


def direction(name: str) -> int:
    """1 if more of this metric is better, -1 if less is, 0 if neither."""
    if name.endswith(("_sd", "_se")):
        return 0
    name = name.removeprefix("best_")
    for forms, sign in ((_MORE, 1), (_LESS, -1)):
        if any(fnmatchcase(name, form) for form in forms):
            return sign
    return 0


def gather(workload: str) -> tuple[Metric, ...]:
    """All metrics, in the order of the pipeline and then of their file.

    A standard error stands beside its metric, not among them. Those that the last commit has are
    there with no value if the file has lost them, or is gone.
    """
    there, before = on_disk(workload), at_commit(workload, "HEAD")
    found = []
    stages = sorted({**there, **before})
    for stage in sorted(stages, key=[*_STAGES, *stages].index):
        now, then = there.get(stage, {}), before.get(stage, {})
        for name in {**now, **then}:
            if not name.endswith("_se"):
                beside = (now.get(f"{name}_{form}") for form in ("sd", "se"))
                found.append(Metric(stage, name, now.get(name), then.get(name), *beside))
    return tuple(found)


def on_disk(workload: str) -> dict[str, dict[str, float]]:
    """The metrics of each stage."""
    files = sorted(_folder(workload).glob("*.json"))
    return {path.stem: _numbers(read_json(path)) for path in files}


def at_commit(workload: str, commit: str) -> dict[str, dict[str, float]]:
    """The same as a commit has it; a damaged file has none."""
    files = git.committed_files(_folder(workload), commit)
    return {path.stem: _committed(path, commit) for path in files if path.suffix == ".json"}


def _folder(workload: str) -> Path:
    return paths.metrics(workload, "any").parent


def key_metrics(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Those to show first."""
    there = [metric for metric in metrics if metric.value is not None]
    found = [f for form in _KEY for f in there if fnmatchcase(f.name, form)]
    return tuple(found[:_MOST_KEYS])


def _committed(path: Path, commit: str) -> dict[str, float]:
    text = git.committed(path, commit)
    try:
        return {} if text is None else _numbers(json.loads(text))
    except ValueError:
        return {}


def _numbers(record: object) -> dict[str, float]:
    if not isinstance(record, dict):
        return {}
    return {
        str(name): value
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
