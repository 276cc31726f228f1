"""Many tasks at once, but few of one host, and none of a host that rests."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, islice
from typing import Generic, TypeVar

from lockstep.sources.web.breaker import Hosts, refused
from lockstep.sources.web.get import Failed

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 10_000


def by_host(
    tasks: Iterable[T],
    host: Callable[[T], str],
    work: Callable[[T], R],
    hosts: Hosts,
    *,
    workers: int,
    per_host: int,
) -> Iterator[tuple[T, R | Failed]]:
    """(task, result) as they get done: up to `workers` at once, `per_host` of them for one host.

    A task whose host is busy or rests is passed over for those of other hosts; no thread sleeps.
    One that ends in a transient `Failed` is tried again, as the policy of `hosts` has it; the last
    `Failed` is its result. The tasks of a host that refuses fail without being tried. Tasks are
    taken from the iterable a little ahead, so that there may be any number of them.
    """
    waiting = _Waiting(tasks, host)
    running: dict[Future[R], _Try[T]] = {}
    busy: Counter[str] = Counter()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                now = hosts.clock()
                waiting.refill(now)
                if not running and waiting.is_empty():
                    return
                for name in waiting.hosts():
                    if len(running) == workers:
                        break
                    if hosts.refusal(name) is not None:
                        for given_up in waiting.take_all(name):
                            yield given_up.task, refused()
                    while (
                        waiting.has(name)
                        and len(running) < workers
                        and busy[name] < per_host
                        and hosts.admit(name)
                    ):
                        begun = waiting.take(name)
                        busy[name] += 1
                        running[pool.submit(work, begun.task)] = begun
                pause = None if len(running) == workers else waiting.pause(hosts, now)
                if running:
                    ended = wait(running, pause, FIRST_COMPLETED).done
                else:
                    ended = set()
                    time.sleep(pause or 0.0)
                for future in ended:
                    done = running.pop(future)
                    busy[done.host] -= 1
                    result = _result(future)
                    failure = result if isinstance(result, Failed) else None
                    hosts.report(done.host, failure, again=done.number > 1)
                    if failure is not None and _again(failure, done, hosts):
                        backoff = hosts.policy.backoff * 2.0 ** (done.number - 1)
                        waiting.put_back(done, hosts.clock() + backoff)
                    else:
                        yield done.task, result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class _Try(Generic[T]):
    task: T
    host: str
    number: int  # from 1


def _result(future: Future[R]) -> R | Failed:
    try:
        return future.result()
    except Failed as failure:
        return failure


def _again(failure: Failed, done: _Try[T], hosts: Hosts) -> bool:
    return (
        failure.transient and done.number < hosts.policy.tries and hosts.refusal(done.host) is None
    )


class _Waiting(Generic[T]):
    """The tries that have not begun: a queue a host, and what is put back until its moment."""

    def __init__(self, tasks: Iterable[T], host: Callable[[T], str]) -> None:
        self._tasks = iter(tasks)
        self._host = host
        self._queues: dict[str, deque[_Try[T]]] = {}
        self._queued = 0
        self._later: list[tuple[float, int, _Try[T]]] = []
        self._order = count()  # between those of one moment

    def refill(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            again = heappop(self._later)[2]
            # Behind the others: they tell sooner whether it is the host's fault.
            self._queue(again.host).append(again)
            self._queued += 1
        held = self._queued + len(self._later)
        for task in islice(self._tasks, max(_AHEAD - held, 0)):
            name = self._host(task)
            self._queue(name).append(_Try(task, name, 1))
            self._queued += 1

    def _queue(self, host: str) -> deque[_Try[T]]:
        return self._queues.setdefault(host, deque())

    def hosts(self) -> list[str]:
        """Those with tries that could begin; who began least lately is first."""
        return list(self._queues)

    def has(self, host: str) -> bool:
        return host in self._queues

    def take(self, host: str) -> _Try[T]:
        queue = self._queues.pop(host)
        begun = queue.popleft()
        if queue:
            self._queues[host] = queue  # as the last one
        self._queued -= 1
        return begun

    def take_all(self, host: str) -> Iterator[_Try[T]]:
        while self.has(host):
            yield self.take(host)

    def put_back(self, failed: _Try[T], moment: float) -> None:
        again = _Try(failed.task, failed.host, failed.number + 1)
        heappush(self._later, (moment, next(self._order), again))

    def pause(self, hosts: Hosts, now: float) -> float | None:
        """Seconds until a try may begin that could not begin `now`; None if none waits for that."""
        moments = [hosts.until(host) for host in self._queues]
        moments += [moment for moment, _, _ in self._later[:1]]
        return min((moment - now for moment in moments if moment > now), default=None)

    def is_empty(self) -> bool:
        return not self._queues and not self._later
