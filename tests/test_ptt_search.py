"""The search by halves: the same articles as by all pages, at the logarithm of their cost."""

from __future__ import annotations

import math
from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.sources.ptt.crawl import Article, Criteria, crawl
from lockstep.sources.ptt.index import Index, Row
from lockstep.sources.ptt.names import day_begins, in_taipei
from lockstep.sources.ptt.search import newest_page

FIRST = date(2004, 1, 1)
ROWS = 20


class Memory(dict):
    """What a `ResumeCache` does, without a disk."""

    def put(self, key: str, text: str) -> None:
        self[key] = text

    def remove(self, key: str) -> None:
        self.pop(key, None)


class Board:
    """Index pages and empty articles. None in `times` is a deleted row."""

    def __init__(self, times: list[int | None], step: int = ROWS) -> None:
        self.pages = [times[i : i + ROWS] for i in range(0, max(len(times), 1), step)]
        self.asked: list[str] = []

    def fetch(self, path: str) -> str | None:
        self.asked.append(path)
        name = path.rsplit("/", 1)[1]
        if not name.startswith("index"):
            return '<div id="main-content">text</div>'
        last = len(self.pages)
        number = int(name[5:-5] or last)
        rows = "".join(map(row, self.pages[number - 1]))
        if number == last:  # a pinned article, as old as the board
            rows += f'<div class="r-list-sep"></div>{row(day_begins(FIRST) - 10**8)}'
        older = f'href="/bbs/B/index{number - 1}.html"' if number > 1 else ""
        return (
            f'<div class="btn-group-paging"><a {older}>‹ 上頁</a></div>'
            f'<div class="r-list-container">{rows}</div>'
        )

    def index_requests(self) -> int:
        return sum("/index" in path for path in self.asked)


def row(time: int | None) -> str:
    link = "(已刪除)" if time is None else f'<a href="/bbs/B/M.{time}.A.0AB.html">t</a>'
    return f'<div class="r-ent"><div class="title">{link}</div></div>'


def found(board: Board, first: date, last: date) -> list[int]:
    """The times of the articles that a crawl finds."""
    criteria = Criteria(first, last)
    results = crawl(board.fetch, "https://b.example", "B", criteria, Memory())  # type: ignore[arg-type]
    articles = [result for result in results if isinstance(result, Article)]
    assert all(article.time[:10] >= first.isoformat() for article in articles)
    return [int(article.id.split(".")[1]) for article in articles]


@settings(max_examples=30)
@given(
    st.integers(0, 10**6),
    st.integers(0, 300),
    st.sampled_from([ROWS, ROWS - 1]),
    st.integers(0, 10),
    st.sampled_from([0.0, 0.1, 0.9]),
    st.integers(-5, 105),
    st.integers(0, 60),
)
def test_it_finds_what_lies_in_the_days_whatever_is_odd_on_the_board(
    seed: int, count: int, step: int, shuffle: int, deleted: float, day: int, days: int
) -> None:
    """Neighbours out of order, pages that share rows, deleted articles and whole deleted pages."""
    random = Random(seed)
    start = day_begins(FIRST)
    times = sorted(random.sample(range(start, start + 100 * 86_400), count))
    keys = {time: number + random.uniform(-shuffle, shuffle) for number, time in enumerate(times)}
    placed = [
        None if random.random() < deleted else time for time in sorted(times, key=lambda t: keys[t])
    ]
    first = FIRST + timedelta(days=day)
    last = first + timedelta(days=days)
    low, high = day_begins(first), day_begins(last + timedelta(days=1))
    wanted = {time for time in placed if time is not None and low <= time < high}
    got = found(Board(placed, step), first, last)
    assert len(got) == len(set(got)) and set(got) == wanted


def test_an_old_year_costs_the_logarithm_of_the_pages_and_its_own() -> None:
    start, day = day_begins(FIRST), 86_400
    board = Board([start + number * day // 4 for number in range(4 * 365 * 20)])  # 20 years
    year = date(2008, 1, 1), date(2008, 12, 31)
    assert len(found(board, *year)) == 4 * 366
    own = 4 * 366 / ROWS
    assert board.index_requests() <= own + math.log2(len(board.pages)) + 8 < len(board.pages) / 10
    assert len(board.asked) == len(set(board.asked))


def test_the_newest_days_need_no_search() -> None:
    start = day_begins(FIRST)
    board = Board([start + number * 3600 for number in range(2000)])
    last = date.fromisoformat(in_taipei(start + 1999 * 3600)[:10])
    assert found(board, last, last)
    assert board.index_requests() <= 4


def test_one_article_far_out_of_its_place_does_not_mislead_the_search() -> None:
    start = day_begins(FIRST)
    times: list[int | None] = [start + number * 86_400 for number in range(2000)]
    middle = len(times) // 2
    times[middle] = start + 1
    board = Board(times)
    days = date(2004, 3, 1), date(2004, 3, 31)
    assert len(found(board, *days)) == 31
    assert board.index_requests() <= math.log2(len(board.pages)) + 9


@pytest.mark.parametrize("last", [1, 2, 3, 100, 129])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_page_can_be_the_answer(last: int, share: float) -> None:
    """Page `n` has what was written at `n`; the walk begins two above, if there are."""
    pages = {n: Index((Row(f"M.{n}.A.0", "t", "", 0),), n - 1 or None) for n in range(1, last + 1)}
    asked: list[int] = []

    def index(number: int) -> Index:
        asked.append(number)
        return pages[number]

    end = 1 + round(share * last)  # wanted is what was written before
    assert newest_page(index, last, end) == min(end + 2, last)
    assert len(set(asked)) <= math.log2(last) + 2
