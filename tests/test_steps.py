"""Epochs as steps."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.config.load import parse_params, read_yaml
from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError
from lockstep.training.steps import with_steps
from tiny import ROOT


def asked(**train: Any) -> Params:
    document = read_yaml(ROOT / "params.yaml")
    document["train"] |= {"batch_size": 16, **train}
    return parse_params(document, "iclevr")


def test_snapshots_every_so_many_epochs() -> None:
    every = {"snapshot_every_epochs": 3, "warmup_steps": 0}
    by_steps = asked(**every, steps=100, snapshots=[5])
    assert with_steps(by_steps, 101).train.snapshots == (5, 19, 38, 57, 76, 95)
    found = with_steps(asked(**every, steps=None, epochs=6), 100).train
    assert (found.steps, found.snapshots) == (38, (19, 38))
    assert found.snapshot_every_epochs is None


def test_epochs_become_steps_and_are_then_the_same_training() -> None:
    found = with_steps(asked(steps=None, epochs=3, warmup_steps=2), 101)
    assert found.train.steps == 19  # 303 images in batches of 16, the last one not full
    assert found == with_steps(asked(steps=19, warmup_steps=2), 5)


def test_too_few_steps_are_seen_once_the_images_are_counted() -> None:
    with pytest.raises(LockstepError, match=r"1 epochs of 32 images: train.warmup_steps: 50 is"):
        with_steps(asked(steps=None, epochs=1), 32)
