"""Which sections params.yaml has, which of them a workload's kinds allow, and what is in force."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from lockstep.config.sections import (
    Autoencoder,
    Crawl,
    Dataset,
    Diffusion,
    Download,
    Evaluate,
    Evaluator,
    Folder,
    Merged,
    Model,
    Positive,
    Ptt,
    Rendered,
    Sample,
    Sweep,
    Text,
    Train,
)

Condition = Literal["none", "classes", "labels", "prompts"]
"""What is said of an image, and what a generated one is to show."""

Source = Rendered | Folder | Merged | Ptt

SOURCES: dict[tuple[str, Condition], type] = {
    ("rendered", "labels"): Rendered,
    ("rendered", "prompts"): Rendered,
    ("folder", "none"): Merged,
    ("folder", "classes"): Merged,
    ("folder", "labels"): Folder,
    ("folder", "prompts"): Folder,
    ("ptt", "none"): Ptt,
}
"""What a workload's `source` may say, by its type and the workload's condition."""

EVALUATORS: dict[str, tuple[Condition, ...]] = {
    "classifier": ("classes", "labels"),
    "rotation": ("none", "classes", "labels", "prompts"),
    "scenes": ("prompts",),
    "dlib": ("none",),
}
"""The conditions that each kind of evaluator is for."""


@dataclasses.dataclass(frozen=True)
class Params:
    """What is in force for one workload, shared sections and its own overrides merged."""

    workload: str
    threads: int
    checkpoint_every: int
    keep_checkpoints: int
    grid_every_epochs: int | None
    grid_every_steps: int | None
    condition: Condition
    source: Source
    crawl: Crawl
    download: Download
    dataset: Dataset
    evaluator: Evaluator
    autoencoder: Autoencoder
    text: Text
    model: Model
    diffusion: Diffusion
    train: Train
    sample: Sample
    evaluate: Evaluate
    sweep: Sweep

    @property
    def reads_text(self) -> bool:
        """Whether the conditions are prompts."""
        return self.condition == "prompts"

    def values(self, *sections: str) -> dict[str, Any]:
        """`{"train.lr": 0.001, ...}`: the values of these sections as JSON has them."""
        return {
            f"{name}.{key}": list(value) if isinstance(value, tuple) else value
            for name in sections
            for key, value in dataclasses.asdict(getattr(self, name)).items()
        }

    def in_force(self) -> dict[str, Any]:
        """All that decides the workload's results, and some that does not, by dotted name."""
        values = {"threads": self.threads, "condition": self.condition}
        return values | self.values(*SECTIONS)

    def deciding(self, *sections: str) -> dict[str, Any]:
        """`values` without those that leave the result as it is, up to rounding at most.

        `train.init_from` is where a file lies; what is in it has its hash beside it. The others
        say how patiently a web server is asked.
        """
        left_out = ("processes", "parallel", "init_from", "inception", "checkpoint", *_PATIENCE)
        return {
            key: value
            for key, value in self.values(*sections).items()
            if key.split(".")[1] not in left_out
        }


SHARED: dict[str, type] = {
    "crawl": Crawl,
    "download": Download,
    "dataset": Dataset,
    "evaluator": Evaluator,
    "autoencoder": Autoencoder,
    "text": Text,
    "model": Model,
    "diffusion": Diffusion,
    "train": Train,
    "sample": Sample,
    "evaluate": Evaluate,
    "sweep": Sweep,
}
"""The sections that stand at the top of params.yaml and, to override it, in a workload."""

SECTIONS = ("source", *SHARED)
"""All sections of a workload."""

TOP: dict[str, Any] = {
    "threads": Positive,
    "checkpoint_every": Positive,
    "keep_checkpoints": Positive,
    "grid_every_epochs": Positive | None,
    "grid_every_steps": Positive | None,
}
"""What stands at the top beside the sections."""

OVERRIDABLE = ("grid_every_epochs", "grid_every_steps")
"""Of `TOP`, what a workload may have of its own."""

_PATIENCE = ("delay", "tries", "workers", "per_host", "seconds", "max_failed_fraction")
