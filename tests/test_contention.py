"""Beside a busy process, threads that wait for each other sleep sooner; no number changes.

What it gains is in benchmarks/contention.py: in the tests OpenMP's threads do not spin at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lockstep.core import contention

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


looks = [0]
"""How often the machine was looked at."""


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many of four cores other processes have: a test may change it."""
    had = [0.0]
    looks[0] = 0

    class Reading:
        cores = 4

        def __init__(self) -> None:
            looks[0] += 1

        def others_since(self, _before: object) -> float:
            return had[0]

    monkeypatch.setattr(contention, "_look", Reading)
    monkeypatch.setattr(contention, "_EVERY", 0.02)
    torch.ones(1)  # its OpenMP is loaded
    return had


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many extra threads there are, of each library that has some; they are real ones."""
    now: list[int] = []

    class Extra(contention._ExtraThreads):
        def __init__(self, library: object, count: int) -> None:
            before = tasks()
            super().__init__(library, count)
            self.count = count
            assert eventually(lambda: len(tasks() - before) >= 1 + count)
            self.tasks = tasks() - before
            now.append(count)

        def end(self) -> None:
            super().end()
            assert eventually(lambda: len(self.tasks & tasks()) < len(self.tasks) - self.count)
            now.remove(self.count)

    monkeypatch.setattr(contention, "_ExtraThreads", Extra)
    return now


def tasks() -> set[str]:
    """The threads of this process, those of OpenMP too."""
    return {each.name for each in Path("/proc/self/task").iterdir()}


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def looked_again() -> bool:
    before = looks[0]
    return eventually(lambda: looks[0] >= before + 3)


@pytest.mark.parametrize(("threads", "enough"), [(4, 0.7), (3, 1.7), (2, 2.7)])
def test_extra_threads_are_there_only_while_others_want_the_cores(
    others: list[float], extra: list[int], threads: int, enough: float
) -> None:
    with contention.watched(threads):
        others[0] = enough - 0.2
        assert looked_again()
        assert not extra
        for _ in range(2):
            others[0] = enough
            # As many as exceed the four cores.
            assert eventually(lambda: set(extra) == {4 - threads + 1})
            others[0] = 0.0
            assert eventually(lambda: not extra)
        others[0] = 4.0
        assert eventually(lambda: bool(extra))
    assert not extra


@pytest.mark.parametrize("threads", [1, 5, 6, 7, 64])
def test_there_are_none_for_one_thread_or_for_more_than_cores(
    others: list[float], extra: list[int], threads: int
) -> None:
    others[0] = 4.0
    with contention.watched(threads):
        assert threads == 1 or looked_again()
        assert not extra


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_same_numbers_under_contention(others: list[float], extra: list[int]) -> None:
    torch.manual_seed(0)
    a, kernel = torch.randn(4, 16, 64, 64), torch.randn(32, 16, 3, 3, requires_grad=True)

    def gradient() -> torch.Tensor:
        loss = torch.nn.functional.conv2d(a, kernel).square().mean()
        return torch.autograd.grad(loss, kernel)[0]

    before = gradient()
    with contention.watched(2):
        others[0] = 4.0
        assert eventually(lambda: bool(extra))
        assert torch.equal(gradient(), before)


def test_they_end_with_an_error_too(others: list[float], extra: list[int]) -> None:
    others[0] = 4.0
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), contention.watched(2):
        assert eventually(lambda: bool(extra))
        _ = 1 / 0
    assert not extra
    assert not set(threading.enumerate()) - before


def test_what_is_neither_idle_nor_had_by_this_process_others_have() -> None:
    before = contention._Reading(cores=4, time=10.0, idle=100.0, own=7.0)
    after = contention._Reading(cores=4, time=12.0, idle=104.0, own=9.0)
    assert after.others_since(before) == pytest.approx(1.0)


def test_only_processors_of_the_affinity_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(
        "cpu 9 9 9 9 9 9 9 0 0 0\n"
        "cpu0 9 9 9 900 9 9 9 0 0 0\n"
        "cpu2 1 1 1 200 50 1 1 0 0 0\n"
        "cpu6 1 1 1 300 0 1 1 0 0 0\n"
        "intr 1 2 3\n"
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 6})
    found = contention._look(tmp_path)
    assert found is not None
    assert (found.cores, found.idle) == (2, 550 / os.sysconf("SC_CLK_TCK"))
    # Of a container that has renumbered its processors, nothing is known.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 8})
    assert contention._look(tmp_path) is None
    (tmp_path / "proc/stat").unlink()
    assert contention._look(tmp_path) is None


def test_a_busy_process_is_seen() -> None:
    before = contention._look()
    if before is None:
        pytest.skip("this system does not say what its processors have done")

    def seen() -> bool:
        now = contention._look()
        # Less than one, if others are busy too.
        return now is not None and now.time > before.time + 1 and now.others_since(before) > 0.3

    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
        try:
            assert eventually(seen)
        finally:
            loop.kill()
