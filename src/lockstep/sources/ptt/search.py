"""The page of a board's index at which a day ends, found by halves."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low

from lockstep.sources.ptt.index import Index
from lockstep.sources.ptt.names import written_at

_SLACK = 2  # pages by which an article may be out of its place: the board is nearly sorted


def newest_page(index: Callable[[int], Index], last: int, end_second: int) -> int:
    """The page from which a walk backwards meets all that was written before `end_second`.

    Parameters
    ----------
    index
        Gives the page of a number; they run from 1, the oldest, to `last`.
    last
        The newest page. If it has what was written before `end_second`, it is the answer.
        Otherwise about log2(last) pages are asked for, and more only where pages are empty.
    end_second
        Unix time.
    """
    if not _is_after(index(last), end_second):
        return last
    before, after = 0, last  # Page 0, which there is not, is before everything.
    while after - before > 1:
        middle = (before + after) // 2
        number = middle
        while number > before and not index(number).rows:  # All deleted: the older one tells.
            number -= 1
        if number > before and _is_after(index(number), end_second):
            after = number
        else:
            before = middle
    return min(after + _SLACK, last)


def _is_after(page: Index, second: int) -> bool:
    """Whether most of a page was written then or later: one restored article decides nothing."""
    times = [written_at(row.id) for row in page.rows]
    return bool(times) and median_low(times) >= second
