"""How many images a second the loader gives: 64x64, from a memory-mapped data set on disk."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from lockstep.config.load import load_params
from lockstep.data import dataset
from lockstep.training.batches import training_batches

_IMAGES = 20_000


def measure(batch_size: int, steps: int) -> float:
    """Images a second with their noise, levels and conditions, as tensors on the device."""
    random = np.random.default_rng(0)
    committed = load_params("iclevr", Path("params.yaml"))
    settings = dataclasses.replace(committed.train, batch_size=batch_size)
    committed = dataclasses.replace(committed, train=settings)
    with tempfile.TemporaryDirectory() as folder:
        images = (random.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(_IMAGES))
        conditions = np.zeros((_IMAGES, 24), np.uint8)
        split = np.zeros(_IMAGES, np.uint8)
        dataset.pack(Path(folder), images, conditions, split, {}, mirrorable=True)
        data = dataset.open_dataset(Path(folder))
        batches = training_batches(data, committed, range(steps + 10))
        for _ in range(10):
            next(batches)
        began = time.perf_counter()
        for _ in batches:
            pass
        return batch_size * steps / (time.perf_counter() - began)
