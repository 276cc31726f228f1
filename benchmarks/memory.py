"""Peak memory of training, each side in a process of its own.

`python -m benchmarks.memory SHAPE PRECISION SIDE` prints the bytes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import get_args

import torch

from benchmarks.models import SIDES, Side, contestants
from benchmarks.training import a_batch, trainer
from lockstep.core import device as hardware


def measure(shape: str, precision: hardware.Precision) -> dict[str, int]:
    """The most bytes that each side had in use over two steps: of the GPU, or resident."""
    peaks: dict[str, int] = {}
    for side in SIDES:
        command = [sys.executable, "-m", "benchmarks.memory", shape, precision, side]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[side] = int(done.stdout.split()[-1])
    return peaks


def _peak(shape: str, precision: hardware.Precision, side: Side) -> int:
    step = trainer(contestants(shape, (side,))[side], precision)
    for _ in range(2):
        step(a_batch(shape))
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    _shape, _precision, _side = sys.argv[1:]
    assert _precision in get_args(hardware.Precision) and _side in SIDES
    print(_peak(_shape, _precision, _side))  # type: ignore[arg-type]
