"""Pages of a board that are nearly what they should be, and what people write in articles."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import cache
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drawings import drawing
from fuzzing import one_line, spliced
from lockstep.core.errors import LockstepError
from lockstep.sources.ptt import links
from lockstep.sources.ptt.article import parse_article
from lockstep.sources.ptt.crawl import Criteria, crawl
from lockstep.sources.ptt.index import parse_index
from lockstep.sources.ptt.links import trim
from lockstep.sources.ptt.text import Word, find_in_pushes
from lockstep.sources.ptt.titles import is_announcement, is_reply
from lockstep.synthetic.board.site import BOARD, SOURCE, Site

# Tags, references and texts; a tag keeps its attributes, so that a part still means something.
_TOKEN = re.compile(r"<[^>]*>|&[#\w]*;?|[^<&]+")
_ODD = (
    *("<", ">", "&", "\0", "<!", "<!--", "-->", "<![CDATA[", "<![x", "<?xml ", "<!DOCTYPE [", "</"),
    *("&#0;", "&#xD800;", "&#x110000;", f"&#{'9' * 5000};", f'<a href="&#{"9" * 5000};">', "&#x;"),
    *('<div class="push">', '<div class="richcontent">', '<div class="push warning-box">'),
    *('<div class="article-metaline">', '<span class="article-meta-tag">作者', "</div>", "</span>"),
    *('<span class="push-userid">', '<span class="push-tag">', '<div id="main-content">'),
    *('<div class="r-list-container">', '<div class="r-ent">', '<div class="r-list-sep">'),
    *('<div class="over18-notice">', '<span class="__cf_email__" data-cfemail="00">'),
    *('<span class="__cf_email__" data-cfemail="">', '<span class="__cf_email__" data-cfemail>'),
    *('<div class="btn-group-paging">', f'<a href="/bbs/B/index{"9" * 5000}.html">‹ 上頁</a>'),
    *('<a href="/bbs/B/M.9999999999.A.FFF.html">', '<a href="//[">x</a>', '<a href="http://[::1">'),
    *('<a href="javascript:x">', '<a href="\ud800">', "<a href>", "<base href='//x'>", "<script>"),
    *(
        "http://a.example/a.jpg",
        "https://imgur.com/AbCdEfG",
        "https://imgur.com/a/AbCdE",
        "爆",
        "²",
    ),
    *("https://[x/a.jpg", "http://a.example:port/a.jpg", "<textarea>", "<template>", "<svg>"),
)


@cache
def _pages() -> dict[Callable[[str, str], Any], list[list[str]]]:
    """Some pages of the replica in pieces, by what reads them."""
    site = Site(30, 5, drawing)
    host, cookies = SOURCE.split("//")[1], {"over18": "1"}

    def pieces(name: str) -> list[str]:
        page = site.answer(host, f"/bbs/{BOARD}/{name}.html", cookies).body.decode()
        return _TOKEN.findall(page)

    named = [post.id for post in site.posts if post.kind == "article"][:4]
    return {parse_article: [*map(pieces, named)], parse_index: [pieces("index1"), pieces("index")]}


def _read(parse: Callable[[str, str], Any], html: str) -> None:
    """What comes out can be written down, or is one line."""
    try:
        found = parse(html, "https://b.example/x")
    except LockstepError as error:
        one_line(error)
    else:
        json.dumps(asdict(found), ensure_ascii=False).encode()


@settings(max_examples=60)
@given(st.data())
def test_no_page_leads_to_anything_but_what_it_says_or_one_line(data: st.DataObject) -> None:
    for parse, pages in _pages().items():
        _read(parse, "".join(data.draw(spliced(data.draw(st.sampled_from(pages)), _ODD))))


@pytest.mark.parametrize(
    "html",
    [
        f"&#{'9' * 5000};",
        f'<a href="&#{"9" * 5000};">x</a>',
        "&#xD800; http://a.example/&#xD800;.jpg",
        '<div class="richcontent">a<div class="richcontent">b</div></div>',
        '<div class="push"><div class="push">http://a.example/c.jpg</div></div>',
        "<div>" * 3000,
        "</x>" * 3000,
        "<!--" * 3000,
    ],
    ids=[
        "digits",
        "digits in a link",
        "surrogates",
        "box in box",
        "push in push",
        "deep",
        "ends",
        "<!--",
    ],
)
def test_odd_articles_and_indices(html: str) -> None:
    _read(parse_article, f'<div id="main-content">{html}')
    _read(parse_index, f'<div class="r-list-container">{html}')


@pytest.mark.parametrize("previous", [1, 2, 3, 10**9 - 1])
def test_an_index_that_leads_back_has_an_end(previous: int) -> None:
    """The button of page 2, of three, leads to itself, or to a newer page."""
    asked: Counter[str] = Counter()

    def fetch(path: str) -> str | None:
        asked[path] += 1
        older = previous if path.endswith("/index2.html") else 2
        return (
            f'<div class="btn-group-paging"><a href="/bbs/B/index{older}.html">‹ 上頁</a></div>'
            '<div class="r-list-container"><div class="r-ent"><div class="title">'
            '<a href="/bbs/B/M.1700000000.A.0AB.html">t</a></div></div></div>'
            '<div id="main-content">text</div>'
        )

    class Nothing:
        """A cache that forgets."""

        def get(self, key: str) -> None: ...
        def put(self, key: str, text: str) -> None: ...

    wanted = Criteria(date(2023, 11, 1), date(2023, 12, 31))
    with pytest.raises(LockstepError, match="which is no older page") as caught:
        list(crawl(fetch, "https://b.example", "B", wanted, Nothing()))  # type: ignore[arg-type]
    assert "b.example/bbs/B/index" in one_line(caught.value)
    assert asked.total() < 10


# --- what people write


def _trim(address: str) -> str:
    """The same as `trim`, a character at a time and from the beginning each time."""
    text = address.strip()
    while text:
        shown = unquote(text)
        opening = links._CLOSING.get(shown[-1])
        unopened = opening is not None and shown.count(shown[-1]) > shown.count(opening)
        if not unopened and shown[-1] not in links._PUNCTUATION:
            return text
        is_escape = re.search("(%[0-9A-Fa-f]{2})+$", text)
        text = text[: -3 * len(shown[-1].encode()) if is_escape else -1].rstrip()
    return text


_PIECES = [
    *"()[]「」.,;!?/a4 \t%",
    "%29",
    "%28",
    "%2",
    "%E3%80%82",
    "%E3%80",
    "%82",
    "%20",
    "。",
    "（",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join))
@example("a%20.").via("a space that is escaped is not trimmed")
@example("(a .).")
def test_what_is_behind_an_address_goes_whatever_it_is(text: str) -> None:
    assert trim(text) == _trim(text)


@pytest.mark.parametrize(
    "text",
    [
        f"http://a.example/{'%41' * 20_000}x{'.' * 20_000}",
        f"http://a.example/{'%29' * 20_000}",
        f"http://a.example/{')' * 20_000}",
    ],
    ids=["escapes", "escaped brackets", "brackets"],
)
def test_a_long_address_costs_little_more_than_its_length(text: str) -> None:
    """A power of it would be hours."""
    assert len(trim(text)) < len(text)
    list(find_in_pushes([("a", [Word(text, True)]), ("a", [Word("b.jpg", False)])]))


def test_a_title_costs_little_more_than_its_length() -> None:
    title = "Re: Fw: " * 50_000
    assert is_announcement(title + "[公告]") and not is_announcement(title) and is_reply(title)
