"""Articles that cannot be read: named with their reasons, and asked for again by the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from collecting import AGENT
from drawings import drawing
from lockstep.core.errors import LockstepError
from lockstep.sources.listing import read_lines
from lockstep.sources.ptt import output
from lockstep.sources.ptt.client import Client
from lockstep.sources.ptt.crawl import Article, Criteria, Failure, crawl
from lockstep.sources.resume_cache import ResumeCache, open_cache
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Loopback, session
from lockstep.synthetic.board.server import Served, Trouble, serve
from lockstep.synthetic.board.site import BOARD, SOURCE, Site

SITE = Site(60, 5, drawing)
ALL = Criteria(date(2022, 1, 1), date(2023, 12, 31))
ARTICLES = [post.id for post in reversed(SITE.posts) if post.kind == "article"]


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[ResumeCache]:
    with open_cache(tmp_path / "journal.db") as opened:
        yield opened


def walk(
    served: Served, pages: ResumeCache, fraction: float = 0.1, wanted: Criteria = ALL
) -> Iterator[Article | Failure]:
    policy = RetryPolicy(2, 0.0)
    client = Client(session(Loopback(served.port), AGENT), SOURCE, delay=0.0, policy=policy)
    return crawl(client.page, SOURCE, BOARD, wanted, pages, max_failed_fraction=fraction)


def troubled(trouble: Trouble, *ids: str) -> Callable[[str, str, int], Trouble | None]:
    """Whenever one of these articles is asked for."""
    return lambda host, target, number: trouble if any(id in target for id in ids) else None


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble(status=500), "HTTP 500"),
        (Trouble(status=429), "HTTP 429"),
        (Trouble(status=403), "HTTP 403"),
        (Trouble(status=302, headers={"Location": "/x"}), f"sent to {SOURCE}/x"),
        (Trouble(keep=0.5), "cut off"),
        (Trouble(status=404), "gone"),
        (Trouble(status=200), "not an article"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_article_that_fails_is_named_and_the_rest_is_written(
    trouble: Trouble, reason: str, pages: ResumeCache, tmp_path: Path
) -> None:
    bad = ARTICLES[7]
    with serve(SITE.answer, troubled(trouble, bad)) as served:
        output.write(tmp_path, walk(served, pages))
    written = [line["id"] for line in read_lines(tmp_path / output.ARTICLES)]
    assert written == [id for id in ARTICLES if id != bad]
    failed = (tmp_path / output.FAILED).read_text()
    assert failed == f"{SOURCE}/bbs/{BOARD}/{bad}.html\t{reason}\n"

    # The next run asks for it again, and for nothing else; a deleted one stays deleted.
    with serve(SITE.answer) as served:
        again = list(walk(served, pages))
        asked = [request.target for request in served.log if "robots" not in request.target]
    if reason == "gone":
        assert asked == [] and sum(isinstance(one, Failure) for one in again) == 1
    else:
        assert asked == [f"/bbs/{BOARD}/{bad}.html"]
        assert [one.id for one in again if isinstance(one, Article)] == ARTICLES


def test_a_crawl_that_fails_in_the_large_ends_with_one_line(pages: ResumeCache) -> None:
    broken = Trouble(status=500)
    with serve(SITE.answer, troubled(broken, "/M.")) as served:
        with pytest.raises(LockstepError) as caught:
            list(walk(served, pages, 0.5))
        # Soon: a server that is down is not asked for every article of a year.
        assert len({request.target for request in served.log if "/M." in request.target}) == 20
    text = str(caught.value)
    assert text.startswith("crawl.max_failed_fraction: 20 of 20 articles failed, above 0.5: HTTP")
    assert "\n" not in text
    with serve(SITE.answer) as served:
        assert [one.id for one in walk(served, pages, 0.0) if isinstance(one, Article)] == ARTICLES


def test_the_fraction_is_of_all_that_was_asked_for(pages: ResumeCache) -> None:
    few = ARTICLES[::8]
    with serve(SITE.answer, troubled(Trouble(status=403), *few)) as served:
        with pytest.raises(LockstepError, match=rf"{len(few)} of {len(ARTICLES)} articles failed"):
            list(walk(served, pages, 0.1))
        found = list(walk(served, pages, 0.2))
    assert sum(isinstance(one, Failure) for one in found) == len(few)


def test_one_failure_or_many_deletions_end_no_crawl(pages: ResumeCache) -> None:
    gone = troubled(Trouble(status=404), *ARTICLES[2:])
    with serve(SITE.answer, gone) as served:
        found = list(walk(served, pages, 0.0))
    assert [one.reason for one in found if isinstance(one, Failure)] == ["gone"] * len(ARTICLES[2:])
    with serve(SITE.answer, troubled(Trouble(status=500), ARTICLES[0])) as served:
        pages.remove(f"/bbs/{BOARD}/{ARTICLES[0]}.html")
        assert isinstance(next(walk(served, pages, 0.0)), Failure)


def test_what_concerns_all_pages_ends_the_crawl_at_once(pages: ResumeCache) -> None:
    """A server that wants an hour of rest is not asked for the next article."""
    wait = Trouble(status=503, headers={"Retry-After": "4000"})
    age = Trouble(status=302, headers={"Location": "/ask/over18?from=x"})
    for trouble, said in ((wait, "run again in 4000 seconds"), (age, "over18=1")):
        with serve(SITE.answer, troubled(trouble, ARTICLES[3])) as served:
            with pytest.raises(LockstepError, match=said):
                list(walk(served, pages, 1.0))
            assert ARTICLES[3] in served.log[-1].target
