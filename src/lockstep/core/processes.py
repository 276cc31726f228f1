"""The same work on many items, by several processes or workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from tqdm import tqdm

from lockstep.core.executors import opened

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def each(
    work: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[tuple[Item, Result]]:
    """(item, `work(item)`) as they get ready; in this process if `processes` is 1.

    `LOCKSTEP_EXECUTOR` sends the work elsewhere: see `core.executors`. Only a few items are under
    way at once. Raises `LockstepError` if a process dies, and whatever `work` raises.
    """
    with opened(processes) as workers:
        if workers is None:
            yield from ((item, work(item)) for item in items)
            return
        stream = iter(items)
        running: dict[Future[Result], Item] = {
            workers.submit(work, item): item for item in islice(stream, workers.at_once)
        }
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                item = running.pop(future)
                for following in islice(stream, 1):
                    running[workers.submit(work, following)] = following
                yield item, future.result()


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[Result]:
    """`work(item)` of each item, in the order of the items; else as `each`."""
    waiting: dict[int, Result] = {}
    following = 0
    for (number, _), result in each(partial(_of_numbered, work), enumerate(items), processes):
        waiting[number] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _of_numbered(work: Callable[[Item], Result], numbered: tuple[int, Item]) -> Result:
    return work(numbered[1])


def progress(description: str, unit: str = "it") -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A progress bar with rate and remaining time, as a wrapper of (iterable, total)."""
    return lambda items, total: tqdm(items, desc=description, total=total, unit=unit, mininterval=1)
