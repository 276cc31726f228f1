"""A data set and parameters so small that a training takes a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.data import dataset
from lockstep.data.dataset import Dataset
from lockstep.training.state import State

ROOT = Path(__file__).resolve().parent.parent


def tiny_dataset(folder: Path, count: int = 40) -> Dataset:
    """16x16 images of one of three colours, the colour being the condition."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 3, count)
    images = rng.integers(0, 60, (count, 16, 16, 3)).astype(np.uint8)
    images[np.arange(count), :, :, colour] += 180
    conditions = np.eye(3, dtype=np.uint8)[colour]
    split = np.zeros(count, np.uint8)
    split[: count // 5] = 1
    folder.mkdir(parents=True, exist_ok=True)
    dataset.pack(folder, iter(images), conditions, split, {}, mirrorable=True)
    return dataset.open_dataset(folder)


def beside_classifier(project: Path) -> Dataset:
    """The same in a project's folder, which has an untrained evaluator of i-CLEVR's, too."""
    from lockstep.evaluation import classifier  # torchvision: not for all who import this file

    folder = project / "evaluators/iclevr"
    folder.mkdir(parents=True)
    classifier.save(classifier.Classifier(3), folder)
    return tiny_dataset(project / "data")


def tiny_params(**train: Any) -> Params:
    committed = load_params("iclevr", ROOT / "params.yaml")
    model = dataclasses.replace(
        committed.model,
        channels=(8, 16),
        attention=(False, True),
        attention_head_dim=8,
        norm_groups=4,
        patch=2,
        layers_per_block=1,
        zero_residuals=False,
        placement_heads=0,
    )
    diffusion = dataclasses.replace(committed.diffusion, min_snr_gamma=None, snr_plus_one=False)
    settings = {
        "steps": 12,
        "batch_size": 4,
        "warmup_steps": 2,
        "log_every": 3,
        "validate_every": 5,
        "precision": "fp32",
        "lr_schedule": "cosine",
        "optimizer": "adamw",
        "flip": False,
        **train,
    }
    return dataclasses.replace(
        committed,
        threads=1,
        checkpoint_every=4,
        model=model,
        diffusion=diffusion,
        train=dataclasses.replace(committed.train, **settings),
    )


def weights_of(state: State, *names: str) -> dict[str, torch.Tensor]:
    """The weights of some averages, or `last`; of all, with their names before, by default."""
    weights = state.weights()
    if len(names) == 1:
        return weights[names[0]]
    return {f"{n}.{k}": v for n in (names or weights) for k, v in weights[n].items()}


def same_bytes(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
