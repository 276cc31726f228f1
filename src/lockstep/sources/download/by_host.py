"""Many tasks at once, but few of one host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 1000


def by_host(
    tasks: Iterable[T],
    host: Callable[[T], str],
    work: Callable[[T], R],
    *,
    workers: int,
    per_host: int,
) -> Iterator[tuple[T, R]]:
    """(task, result) as they get done: up to `workers` at once, `per_host` of them for one host.

    A task whose host is busy is passed over for a later one. Tasks are taken from the iterable a
    little ahead, so that there may be any number of them.
    """
    source = iter(tasks)
    waiting: list[T] = []
    running: dict[Future[R], T] = {}
    busy: Counter[str] = Counter()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                waiting += islice(source, _AHEAD - len(waiting))
                for task in waiting[:]:
                    if len(running) == workers:
                        break
                    if busy[host(task)] < per_host:
                        waiting.remove(task)
                        busy[host(task)] += 1
                        running[pool.submit(work, task)] = task
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    busy[host(task)] -= 1
                    yield task, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
