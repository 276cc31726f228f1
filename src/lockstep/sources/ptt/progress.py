"""How far a crawl has come. Nobody knows how many articles there are; the days are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from lockstep.sources.ptt.crawl import Wanted

_DAY = 86_400


@contextmanager
def progress(wanted: Wanted) -> Iterator[Callable[[int], None]]:
    """A bar over the days wanted, with rate and remaining time, as `crawl`'s `passed`."""
    days = (wanted.end_second - wanted.first_second) // _DAY
    with tqdm(desc="crawl", total=days, unit="day", mininterval=1) as bar:

        def passed(second: int) -> None:
            walked = (wanted.end_second - second) // _DAY
            bar.update(max(0, min(walked, days) - bar.n))

        yield passed
        bar.update(days - bar.n)
