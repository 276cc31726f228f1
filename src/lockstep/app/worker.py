"""The one thread that does the arithmetic of all tabs, one press of the button after the other.

torch counts its threads in each thread apart, and sums are split by that number: images come out as
`lockstep sample` gives them only in a thread whose number is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import Generic, TypeVar

from lockstep.core.errors import Stopped

T = TypeVar("T")
Give = Callable[[T | None], None]


class _End:
    pass


class Worker(Generic[T]):
    """Turns work that gives its results one by one into an iterator of them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw")

    def stream(self, work: Callable[[Give[T]], None]) -> Iterator[T]:
        """What `work(give)` gives, as it does; it waits for its turn first.

        When nobody reads on (the tab was closed), the work stops at the next `give`, of which
        `give(None)` does nothing else. Raises whatever `work` raises.
        """
        results: SimpleQueue[T | Exception | _End] = SimpleQueue()
        left = Event()

        def give(result: T | None) -> None:
            if left.is_set():
                raise Stopped("nobody waits for these images any more")
            if result is not None:
                results.put(result)

        def run() -> None:
            try:
                if not left.is_set():
                    work(give)
                results.put(_End())
            except Exception as error:
                results.put(error)

        self._pool.submit(run)
        try:
            while not isinstance(result := results.get(), _End):
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            left.set()
