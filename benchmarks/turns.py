"""Timing several things turn by turn, so that whatever else the machine does hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def seconds(
    tasks: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 2
) -> dict[str, float]:
    """The median seconds of each task over `rounds` rounds, A B C, A B C, ... after a warm-up."""
    for _ in range(warm_up):
        for task in tasks.values():
            task()
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            taken[name].append(once(task))
    return {name: median(values) for name, values in taken.items()}


def once(task: Callable[[], object]) -> float:
    """The seconds of one call, everything on the device done."""
    _synchronize()
    began = time.perf_counter()
    task()
    _synchronize()
    return time.perf_counter() - began


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
