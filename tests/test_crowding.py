"""Beside a busy process, threads that wait for each other sleep sooner; no number changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lockstep.core import crowding

linux = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many of four cores other processes have: a test may change it."""
    cores = [0.0]

    class Reading:
        cores = 4

        def others_since(self, _before: object) -> float:
            return cores[0]

    monkeypatch.setattr(crowding, "_Reading", Reading)
    monkeypatch.setattr(crowding, "_EVERY", 0.02)
    return cores


def tasks() -> int:
    """The threads of this process, those of OpenMP too."""
    return len(list(Path("/proc/self/task").iterdir()))


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


@linux
@pytest.mark.parametrize(("threads", "enough"), [(4, 0.7), (3, 1.7), (2, 2.7)])
def test_extra_threads_are_there_only_while_others_want_the_cores(
    others: list[float], threads: int, enough: float
) -> None:
    with crowding.watched(threads):
        alone = tasks()
        others[0] = enough - 0.2
        time.sleep(0.2)
        assert tasks() == alone
        for _ in range(2):
            others[0] = enough
            # One that begins the region, and as many as exceed the four cores.
            more = alone + 1 + (4 - threads + 1)
            assert eventually(lambda more=more: tasks() == more)
            others[0] = 0.0
            assert eventually(lambda: tasks() == alone)
        others[0] = 4.0
        assert eventually(lambda: tasks() > alone)
    assert eventually(lambda: tasks() == alone - 1), "nothing stays behind"


@linux
def test_one_thread_needs_no_watch(others: list[float]) -> None:
    others[0] = 4.0
    before = threading.active_count()
    with crowding.watched(1):
        time.sleep(0.1)
        assert threading.active_count() == before


@linux
def test_the_same_numbers_in_a_crowd(others: list[float]) -> None:
    torch.manual_seed(0)
    a, kernel = torch.randn(4, 16, 64, 64), torch.randn(32, 16, 3, 3, requires_grad=True)

    def gradient() -> torch.Tensor:
        loss = torch.nn.functional.conv2d(a, kernel).square().mean()
        return torch.autograd.grad(loss, kernel)[0]

    before = gradient()
    with crowding.watched(2):
        alone = tasks()
        others[0] = 4.0
        assert eventually(lambda: tasks() > alone)
        assert torch.equal(gradient(), before)


@linux
def test_it_ends_with_an_error_too(others: list[float]) -> None:
    others[0] = 4.0
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), crowding.watched(2):
        assert eventually(lambda: threading.active_count() == before + 2)
        _ = 1 / 0
    assert threading.active_count() == before


@linux
def test_the_processors_say_what_others_have() -> None:
    before = crowding._Reading()
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(before.cores)
    ]
    try:
        time.sleep(2)
        assert crowding._Reading().others_since(before) > 0.6 * before.cores
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@linux
def test_this_process_is_not_another_one() -> None:
    before = crowding._Reading()
    until = time.process_time() + 1
    while time.process_time() < until:
        pass
    assert crowding._Reading().own - before.own == pytest.approx(1, abs=0.1)
