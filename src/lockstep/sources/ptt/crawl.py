"""The walk through a board, from the newest page of its index backwards.

Every page that was read goes into a cache as it came, so a walk after a cut asks only for what is
not in it: each page once, save the one whose answer was under way when the process died.
(robots.txt, which is no page of the board, is asked for once a run that asks for anything.)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TypeVar

from tqdm import tqdm

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.article import BODY, ImageLink, NoArticle, parse_article
from lockstep.sources.ptt.index import Row, parse_index
from lockstep.sources.ptt.names import day_begins, in_taipei, written_at
from lockstep.sources.resume_cache import ResumeCache

T = TypeVar("T")

_GONE = "gone"  # in place of the HTML of a page that does not exist
_ANNOUNCEMENT = re.compile(r"(?:Fw:\s*)?\[公告\]", re.IGNORECASE)
_REPLY = re.compile(r"Re:", re.IGNORECASE)
_FEW = 20  # articles, of which any number may be odd


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
            and not _ANNOUNCEMENT.match(row.title)
            and (self.replies or not _REPLY.match(row.title))
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
    images: tuple[ImageLink, ...]


def crawl(
    fetch: Callable[[str], str | None],
    source: str,
    board: str,
    criteria: Criteria,
    cache: ResumeCache,
    passed: Callable[[int], object] = lambda seconds: None,
) -> Iterator[Article]:
    """The articles that meet the criteria, the newest first, each once.

    `fetch` gives a path's HTML, or None; what comes before a path in an address is `source`. The
    `cache` is empty, or of a crawl of the same board with the same last day. After each row
    `passed` is told the Unix time that the walk has come to.

    Raises `LockstepError` if there is no such board, or a page is not what it should be. A single
    article that is none is left out with a line on stderr; not so if it is the rule.
    """
    pages = _Pages(fetch, source, cache)
    known: set[str] = set()
    whole, odd = 0, 0
    path = f"/bbs/{board}/index.html"
    while True:
        index = pages.read(path, parse_index)
        if index is None:
            cache.remove(path)
            raise LockstepError(f"{source}{path}: no such page; is crawl.board: {board} right?")
        for row in reversed(index.rows):
            if row.id in known:
                continue
            known.add(row.id)
            try:
                article = _article(pages, row, board) if criteria.accept(row) else None
            except NoArticle as error:
                article, odd = None, odd + 1
                if odd > whole and odd + whole >= _FEW:
                    raise
                tqdm.write(f"left out: {error}", file=sys.stderr)
            if article is not None:
                whole += 1
                yield article
            passed(written_at(row.id))
        # If all on the page was written before the first day, so was all on the older ones.
        newest = max((written_at(row.id) for row in index.rows), default=criteria.first_second)
        if index.previous is None or newest < criteria.first_second:
            return
        path = f"/bbs/{board}/index{index.previous}.html"


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
        if html is None or html == _GONE:
            self.cache.put(path, _GONE)
            return None
        result = parse(html, self.source + path)
        if known is None:  # Only now: a page that is not what it should be is not kept.
            self.cache.put(path, html)
        return result


def _article(pages: _Pages, row: Row, board: str) -> Article | None:
    """None for one that was deleted since the index was read."""
    path = f"/bbs/{board}/{row.id}.html"
    page = pages.read(path, parse_article)
    if page is None:
        return None
    author = page.author or row.author
    return Article(
        id=row.id,
        title=page.title or row.title,
        author=author,
        time=page.time or in_taipei(written_at(row.id)),
        pushes=row.pushes,
        url=pages.source + path,
        albums=page.albums,
        # Whoever asks to be taken out is looked for among these.
        images=tuple(
            replace(link, author=author or None) if link.place == BODY else link
            for link in page.images
        ),
    )
