"""The walk through a board's days, the newest article first.

Every page that was read goes into a cache as it came, so a walk after a cut asks only for what is
not in it: each page once, save the one whose answer was under way when the process died, and the
articles that failed. (robots.txt, which is no page of the board, is asked for once a run that asks
for anything.)
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TypeVar

from tqdm import tqdm

from lockstep.core.errors import LockstepError, one_line
from lockstep.sources.ptt.article import (
    BODY,
    ImageLink,
    Mention,
    NoArticle,
    image_links,
    parse_article,
)
from lockstep.sources.ptt.index import Index, Row, parse_index
from lockstep.sources.ptt.names import day_begins, in_taipei, written_at
from lockstep.sources.ptt.page import PageFailed
from lockstep.sources.ptt.search import newest_page
from lockstep.sources.ptt.titles import is_announcement, is_reply
from lockstep.sources.resume_cache import ResumeCache

T = TypeVar("T")

GONE = "gone"
"""Why an article failed that was deleted since the index was read; in the cache, its page."""
_OLDER = 2  # pages in a row from before the first day, which end a walk: it is nearly sorted
_FEW = 20  # failures, before which a crawl is not given up


@dataclass(frozen=True)
class Criteria:
    """Which articles a crawl is for: from the first to the last day, both in Taipei."""

    start: date
    end: date
    min_pushes: int | None = None  # as the index shows them: 爆 is 100 and XX is -100
    replies: bool = False  # whether titles with `Re:` count

    def accept(self, row: Row) -> bool:
        """Whether this is one of them."""
        return (
            self.first_second <= written_at(row.id) < self.end_second
            and not is_announcement(row.title)
            and (self.replies or not is_reply(row.title))
            and (self.min_pushes is None or row.pushes >= self.min_pushes)
        )

    @property
    def first_second(self) -> int:
        """Unix time at which the first day begins."""
        return day_begins(self.start)

    @property
    def end_second(self) -> int:
        """Unix time at which the last day is over."""
        return day_begins(self.end + timedelta(days=1))


def must_be_over(end: date, today: date) -> None:
    """Raises `LockstepError` if the last day may still get articles, `today` in Taipei.

    Its index would be kept as it is now.
    """
    if end >= today:
        raise LockstepError(
            f"crawl.end: {end} is not over yet in Taipei; choose a day before {today}"
        )


@dataclass(frozen=True)
class Article:
    """One article with the images that it and its pushes name. `time` is in ISO form."""

    id: str
    title: str
    author: str
    time: str
    pushes: int
    url: str
    albums: tuple[str, ...]
    mentions: tuple[Mention, ...]

    @property
    def images(self) -> tuple[ImageLink, ...]:
        """The images named, each once a place."""
        return image_links(self.mentions)


@dataclass(frozen=True)
class Failure:
    """An article that could not be read, and why: the same words every time."""

    address: str
    reason: str


def crawl(
    fetch: Callable[[str], str | None],
    source: str,
    board: str,
    criteria: Criteria,
    cache: ResumeCache,
    passed: Callable[[int], object] = lambda seconds: None,
    *,
    max_failed_fraction: float = 1.0,
) -> Iterator[Article | Failure]:
    """The articles that meet the criteria, the newest first, each once, or why one failed.

    `fetch` gives a path's HTML, or None; what comes before a path in an address is `source`. The
    `cache` is empty, or of a crawl of the same board with the same last day. After each row
    `passed` is told the Unix time that the walk has come to.

    Raises `LockstepError` if there is no such board, a page of its index is not what it should be,
    or more than `max_failed_fraction` of the articles failed, of which one never counts as many.
    Those that were deleted meanwhile are no failure of that kind.
    """
    pages = _Pages(fetch, source, cache)
    tally = _Tally(max_failed_fraction)
    for row in _rows(pages, board, criteria):
        if criteria.accept(row):
            result = _article(pages, row, board)
            if isinstance(result, Failure):
                _tell(f"left out: {result.address}: {result.reason}")
            yield result
            tally.count(result)
        passed(written_at(row.id))
    tally.check()


@dataclass(frozen=True)
class _Pages:
    """Pages out of the cache or, once, off the web."""

    fetch: Callable[[str], str | None]
    source: str
    cache: ResumeCache

    def read(self, path: str, parse: Callable[[str, str], T]) -> T | None:
        """What a page says; None if there is none."""
        known = self.cache.get(path)
        html = self.fetch(path) if known is None else known
        if html is None or html == GONE:
            self.cache.put(path, GONE)
            return None
        result = parse(html, self.source + path)
        if known is None:  # Only now: a page that is not what it should be is not kept.
            self.cache.put(path, html)
        return result

    def index(self, board: str, number: int | None = None) -> Index:
        """A page of the index, the newest without a number."""
        path = f"/bbs/{board}/index{'' if number is None else number}.html"
        index = self.read(path, parse_index)
        if index is None:
            self.cache.remove(path)
            raise LockstepError(
                f"{self.source}{path}: no such page; is crawl.board: {board} right?"
            )
        return index


@dataclass
class _Tally:
    """Of what was asked for, how much failed."""

    max_failed_fraction: float
    read: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def count(self, result: Article | Failure) -> None:
        """Raises `LockstepError` as soon as it is clear that a crawl fails in the large."""
        if isinstance(result, Article):
            self.read += 1
        elif result.reason != GONE:
            self.failed[result.reason] += 1
            if self.failed.total() >= _FEW:
                self.check()

    def check(self) -> None:
        """Raises `LockstepError` if too much failed."""
        bad = self.failed.total()
        asked = bad + self.read
        if bad > max(1, self.max_failed_fraction * asked):
            most = ", ".join(f"{reason} ({count})" for reason, count in self.failed.most_common(3))
            raise LockstepError(
                f"crawl.max_failed_fraction: {bad} of {asked} articles failed, above "
                f"{self.max_failed_fraction}: {most}; look at one in a browser, then run again "
                "(what was read is not asked for again) or raise it"
            )


def _rows(pages: _Pages, board: str, criteria: Criteria) -> Iterator[Row]:
    """The rows of the pages that may have what is wanted, the newest first, each once."""
    newest = pages.index(board)
    last = (newest.previous or 0) + 1

    def index(number: int) -> Index:
        return newest if number == last else pages.index(board, number)

    known: set[str] = set()
    number: int | None = newest_page(index, last, criteria.end_second)
    older = 0  # pages in a row that are wholly from before the first day
    while number is not None and older < _OLDER:
        page = index(number)
        for link in page.unread:
            _tell(f"left out: {link}: leads to no article, but stands on index{number}.html")
        for row in reversed(page.rows):
            if row.id not in known:
                known.add(row.id)
                yield row
        if page.rows:
            newest_row = max(written_at(row.id) for row in page.rows)
            older = older + 1 if newest_row < criteria.first_second else 0
        if page.previous is not None and page.previous >= number:  # or there would be no end
            raise LockstepError(
                f"{pages.source}/bbs/{board}/index{number}.html: its button 上頁 leads to "
                f"index{page.previous}.html, which is no older page; look at it in a browser"
            )
        number = page.previous


def _article(pages: _Pages, row: Row, board: str) -> Article | Failure:
    path = f"/bbs/{board}/{row.id}.html"
    url = pages.source + path
    try:
        page = pages.read(path, parse_article)
    except PageFailed as failure:
        return Failure(url, failure.reason)
    except NoArticle:
        return Failure(url, "not an article")
    if page is None:
        return Failure(url, GONE)
    if page.is_cut:
        _tell(f"{url}: the board leaves out its middle (檔案過大), with the images there")
    author = page.author or row.author
    return Article(
        id=row.id,
        title=page.title or row.title,
        author=author,
        # Not the page's 時間, which its author can edit.
        time=in_taipei(written_at(row.id)),
        pushes=row.pushes,
        url=url,
        albums=page.albums,
        # Whoever asks to be taken out is looked for among these.
        mentions=tuple(
            replace(mention, author=author or None) if mention.place == BODY else mention
            for mention in page.mentions
        ),
    )


def _tell(text: str) -> None:
    tqdm.write(one_line(text), file=sys.stderr)
