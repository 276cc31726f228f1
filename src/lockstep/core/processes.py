"""The same work on many items by several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

import cv2
from tqdm import tqdm

from lockstep.core.errors import LockstepError

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def pool(processes: int) -> ProcessPoolExecutor:
    """Processes that end with this one, even if it is killed and cannot say so."""
    # "spawn": a forked child of a process that has used threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, initializer=_start)


def each(
    work: Callable[[Item], Result], items: Iterable[Item], processes: int
) -> Iterator[tuple[Item, Result]]:
    """(item, `work(item)`) as they get ready; in this process if `processes` is 1.

    Only a few items are under way at once. Raises `LockstepError` if a process dies, and whatever
    `work` raises.
    """
    if processes == 1:
        yield from ((item, work(item)) for item in items)
        return
    stream = iter(items)
    workers = pool(processes)
    try:
        running: dict[Future[Result], Item] = {
            workers.submit(work, item): item for item in islice(stream, 3 * processes)
        }
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                item = running.pop(future)
                for following in islice(stream, 1):
                    running[workers.submit(work, following)] = following
                yield item, future.result()
    except BrokenProcessPool:
        raise LockstepError(
            "a process that works on images died, perhaps for lack of memory; run again"
        ) from None
    finally:
        workers.shutdown(cancel_futures=True)


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


def _start() -> None:
    """One core for this process; and a watch on its parent."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def progress(description: str, unit: str = "it") -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A progress bar with rate and remaining time, as a wrapper of (iterable, total)."""
    return lambda items, total: tqdm(items, desc=description, total=total, unit=unit, mininterval=1)
