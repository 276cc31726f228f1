"""A thread that writes for somebody who does not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lockstep.core.errors import LockstepError
from lockstep.tracking import outbox
from lockstep.tracking.outbox import Outbox


class Store:
    """Counts what it is asked, and is away as long as it is told to."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.fails: LockstepError | None = None
        self.delivered = self.finished = 0
        self.tried = threading.Semaphore(0)
        self.failures: list[str] = []

    def deliver(self) -> None:
        self.answers.wait()
        try:
            if self.fails is not None:
                raise self.fails
            self.delivered += 1
        finally:
            self.tried.release()

    def finish(self) -> None:
        self.finished += 1

    def tries(self, count: int) -> None:
        """Wait for so many of them."""
        for _ in range(count):
            assert self.tried.acquire(timeout=60)

    def open(self) -> Outbox:
        return Outbox(self.deliver, self.finish, lambda error: self.failures.append(str(error)))


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store()
    yield found
    found.answers.set()  # no thread hangs on


def test_what_was_given_last_is_delivered_before_the_end(store: Store) -> None:
    box = store.open()
    assert box.wait_for_first(60)
    for _ in range(100):
        box.wake()
    assert box.close(60)
    assert 2 <= store.delivered <= 102  # those that came meanwhile are one
    assert store.finished == 1


def test_one_that_never_answers_holds_nobody_up(store: Store) -> None:
    store.answers.clear()
    box = store.open()
    assert not box.wait_for_first(0.01)
    for _ in range(1000):
        box.wake()
    assert not box.close(0.01)
    assert store.delivered == store.finished == 0


def test_one_that_refuses_is_left_alone_for_longer_and_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_PAUSE", 30.0)
    store.fails = LockstepError("away")
    box = store.open()
    store.tries(1)
    for _ in range(1000):
        box.wake()
    assert not store.tried.acquire(timeout=0.2)  # though there is so much to do
    assert not box.close(60)  # once more, at once
    assert str(box.error) == "away"
    assert store.failures == ["away"]
    assert store.finished == 0


def test_the_pauses_double_up_to_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    box = store.open()
    assert box.close(60)
    store.fails = LockstepError("away")
    pauses = [0.0]
    for _ in range(8):
        pauses.append(box._try(last=False, pause=pauses[-1]))
    assert pauses[1:] == [15, 30, 60, 120, 240, 480, 600, 600]
    store.fails = None
    assert box._try(last=False, pause=600) == 0


def test_when_it_is_back_all_is_delivered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_PAUSE", 0.01)
    store.fails = LockstepError("away")
    box = store.open()
    store.tries(3)  # without being woken
    store.fails = None
    assert box.close(60)
    assert store.failures == ["away"]
    assert store.delivered >= 1
    assert store.finished == 1


def test_one_that_is_given_up_gets_nothing_more(store: Store) -> None:
    store.fails = LockstepError("no such store")
    box = store.open()
    assert box.wait_for_first(60)
    store.fails = None
    box.abandon()
    assert not box.close(60)
    assert store.delivered == store.finished == 0


def test_a_mistake_in_the_program_is_shown_and_ends_the_thread_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong() -> None:
        raise KeyError("run")

    shown: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    box = Outbox(wrong, store.finish, store.failures.append)
    assert box.wait_for_first(60)
    box.wake()
    assert not box.close(60)
    assert store.finished == 0
    while not shown:
        assert box.wait_for_first(60)
    assert shown[0].exc_type is KeyError
