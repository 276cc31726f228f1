"""What a neighbour costs: the training step alone and beside a process that never rests.

`python -m benchmarks.contention` trains the `quick` network in turn alone, beside such a process,
and beside it with `lockstep.core.contention` on the watch, and prints median seconds of a step.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from statistics import median

import torch

from benchmarks import turns
from benchmarks.models import contestants
from benchmarks.training import a_batch, trainer
from lockstep.core import contention
from lockstep.core import device as hardware
from lockstep.core.cpus import available_cores

_SHAPE = "quick"
_ROUNDS, _STEPS = 3, 15
_SETTLE = 5.0
"""Seconds until the watch has seen a change for certain."""


@contextmanager
def _neighbour() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def _main() -> None:
    threads = available_cores()
    torch.set_num_threads(threads)
    precision = hardware.resolve_precision("auto", "precision")
    step = partial(trainer(contestants(_SHAPE)["lockstep"], precision), a_batch(_SHAPE))
    cases: dict[str, list[Callable[[], AbstractContextManager[None]]]] = {
        "alone": [],
        "beside a neighbour": [_neighbour],
        "beside a neighbour, watched": [_neighbour, partial(contention.watched, threads)],
        "alone, watched": [partial(contention.watched, threads)],
    }
    taken: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(_ROUNDS):
        for case, around in cases.items():
            with ExitStack() as stack:
                for each in around:
                    stack.enter_context(each())
                settled = time.monotonic() + _SETTLE
                while time.monotonic() < settled:
                    step()
                taken[case] += [turns.once(step) for _ in range(_STEPS)]
    alone = median(taken["alone"])
    print(f"{_SHAPE}, {precision}, {threads} threads")
    for case, seconds in taken.items():
        print(f"{case}: {median(seconds):.3f} s a step, {median(seconds) / alone:.2f}x")


if __name__ == "__main__":
    _main()
