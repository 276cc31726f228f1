"""How many images a second the loader gives, from a memory-mapped data set on disk.

`python -m benchmarks.loader` tables it for several processes that share a batch, by the processor
time of each: with more of them than cores, seconds on the clock would say how many cores there are.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from lockstep.config.load import load_params
from lockstep.data import dataset
from lockstep.training.batches import Batch, training_batches

_BYTES = 250_000_000  # of the data set, whatever the images' size
_SIDES, _PROCESSES = (64, 256), (1, 2, 4)
_WARM_UP = 10  # steps


def measure(batch_size: int, steps: int) -> float:
    """64x64 images a second with noise, levels and conditions, as tensors on the device."""
    with tempfile.TemporaryDirectory() as folder:
        _pack(Path(folder), 64)
        batches = _batches(Path(folder), batch_size, steps)
        began = time.perf_counter()
        for _ in batches:
            pass
        return batch_size * steps / (time.perf_counter() - began)


def _pack(folder: Path, side: int) -> None:
    random = np.random.default_rng(0)
    count = _BYTES // (3 * side**2)
    images = (random.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count))
    conditions = np.zeros((count, 24), np.uint8)
    split = np.zeros(count, np.uint8)
    dataset.pack(folder, images, conditions, split, {}, mirrorable=True)


def _batches(folder: Path, batch_size: int, steps: int) -> Iterator[tuple[int, list[Batch]]]:
    """Of `steps` steps, after a warm-up."""
    committed = load_params("iclevr", Path("params.yaml"))
    settings = dataclasses.replace(committed.train, batch_size=batch_size)
    params = dataclasses.replace(committed, train=settings)
    batches = training_batches(dataset.open_dataset(folder), params, range(steps + _WARM_UP))
    for _ in range(_WARM_UP):
        next(batches)
    return batches


def _share(folder: Path, batch_size: int, steps: int) -> None:
    """What one of several processes does: prints how many images it made in a CPU second."""
    batches = _batches(folder, batch_size, steps)
    began = time.process_time()
    made = sum(len(batch.x0) for _, parts in batches for batch in parts)
    print(made / (time.process_time() - began))


def _rates(folder: Path, processes: int, each: int, steps: int) -> list[float]:
    """Of each process, whose batches have `each` images for each of them."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.loader", folder, str(processes * each), str(steps)],
            env={
                **os.environ,
                **{"RANK": str(rank), "LOCAL_RANK": str(rank)},
                **{"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)},
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    return [float(child.communicate()[0]) for child in children]


def _main() -> None:
    print("| images | processes | images of each in a CPU second |\n| --- | --- | --- |")
    for side in _SIDES:
        with tempfile.TemporaryDirectory() as folder:
            _pack(Path(folder), side)
            for processes in _PROCESSES:
                runs = [_rates(Path(folder), processes, 32, 8192 // side) for _ in range(3)]
                rate = median(median(run) for run in runs)
                print(f"| {side}x{side} | {processes} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        _main()
    else:
        _share(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
