"""The board's pages, read: pure functions over HTML."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.article import ImageLink, parse_article
from lockstep.sources.ptt.index import parse_index, parse_pushes
from lockstep.sources.ptt.names import article_id, day_begins, in_taipei, written_at
from lockstep.sources.ptt.page import reveal
from lockstep.synthetic.board import markup

AT = "https://www.ptt.example/bbs/Beauty/M.1704067200.A.5F3.html"


# --- names and times


def test_the_time_is_in_the_file_name() -> None:
    assert article_id("/bbs/Beauty/M.1704067200.A.5F3.html") == "M.1704067200.A.5F3"
    assert article_id("/bbs/Beauty/G.1131432442.A.08E.html") == "G.1131432442.A.08E"
    assert written_at("M.1704067200.A.5F3") == 1704067200
    assert article_id("/bbs/Beauty/M.1104067200.A.html") == "M.1104067200.A"  # before 2005
    assert written_at("M.1104067200.A") == 1104067200
    assert in_taipei(1704067200) == "2024-01-01T08:00:00+08:00"


@pytest.mark.parametrize("address", ["", "/bbs/Beauty/search?q=M.1.A.1", "/M.x.A.1.html", "/a/b"])
def test_other_addresses_are_no_articles(address: str) -> None:
    assert article_id(address) is None


@given(st.dates(date(1995, 1, 1), date(2100, 1, 1)))
def test_a_day_begins_at_midnight_in_taipei(day: date) -> None:
    assert in_taipei(day_begins(day)) == f"{day.isoformat()}T00:00:00+08:00"
    assert in_taipei(day_begins(day) - 1) < in_taipei(day_begins(day))


# --- hidden addresses


@given(st.text(min_size=1, max_size=40), st.integers(0, 255))
def test_what_was_hidden_is_revealed(text: str, key: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert reveal(markup.hide(text, key)) == text


def test_hidden_addresses_are_put_back_in_titles_and_damaged_ones_stay() -> None:
    code = markup.hide("me@home", 77)
    html = (
        '<div id="main-content"><div class="article-metaline">'
        '<span class="article-meta-tag">標題</span><span class="article-meta-value">ask '
        f'<a class="__cf_email__" data-cfemail="{code}" href="/cdn-cgi/l/x">[email]</a></span>'
        '</div><span class="__cf_email__" data-cfemail="zz">[email]</span></div>'
    )
    assert parse_article(html, AT).title == "ask me@home"


# --- pushes


@given(st.integers(-300, 3000))
def test_pushes_are_read_as_the_board_shows_them(score: int) -> None:
    read = parse_pushes(markup.shown(score))
    if score >= 100:
        assert read == 100
    elif score > 0:
        assert read == score
    elif score > -10:
        assert read == 0
    elif score > -100:
        assert read <= 0 and read - 10 < score <= read and read % 10 == 0
    else:
        assert read == -100


@pytest.mark.parametrize(
    ("text", "pushes"),
    [("爆", 100), ("99", 99), ("", 0), (" \n", 0), ("X1", -10), ("X9", -90), ("XX", -100)],
)
def test_each_way_of_showing_pushes(text: str, pushes: int) -> None:
    assert parse_pushes(text) == pushes


# --- the index


OLDEST = '<a class="btn wide disabled">‹ 上頁</a>'


def index(rows: str, paging: str = OLDEST) -> str:
    return (
        f'<div class="btn-group btn-group-paging">{paging}</div>'
        f'<div class="r-list-container action-bar-margin bbs-screen">{rows}</div>'
    )


def row(number: int, title: str = "t", nrec: str = "") -> str:
    return (
        f'<div class="r-ent"><div class="nrec">{nrec}</div><div class="title">'
        f'<a href="/bbs/Beauty/M.{number}.A.0AB.html">{title}</a></div><div class="meta">'
        '<div class="author">who</div><div class="article-menu">'
        f'<a href="/bbs/Beauty/M.{number + 7}.A.0AB.html">menu</a></div>'
        '<div class="date"> 1/02</div><div class="mark">M</div></div></div>'
    )


def test_rows_are_read_without_menus_deleted_ones_and_pinned_ones() -> None:
    deleted = (
        '<div class="r-ent"><div class="nrec"></div><div class="title">(已刪除)</div>'
        '<div class="meta"><div class="author">-</div><div class="article-menu">'
        '<a href="/bbs/Beauty/M.5.A.0AB.html">menu</a></div></div></div>'
    )
    html = index(
        row(1, nrec="<span>爆</span>")
        + deleted
        + row(2)
        + '<div class="r-list-sep"></div>'
        + row(9)
    )
    found = parse_index(html, AT)
    assert [(r.id, r.pushes) for r in found.rows] == [("M.1.A.0AB", 100), ("M.2.A.0AB", 0)]
    assert found.rows[0].author == "who"
    assert found.unread == ()


def test_a_row_that_leads_elsewhere_is_named() -> None:
    odd = row(2).replace("M.2.A.0AB.html", "poll.html")
    found = parse_index(index(row(1) + odd), AT)
    assert [r.id for r in found.rows] == ["M.1.A.0AB"]
    assert found.unread == ("/bbs/Beauty/poll.html",)


@pytest.mark.parametrize(
    ("paging", "previous"),
    [
        ('<a href="/bbs/B/index1.html">最舊</a><a href="/bbs/B/index41.html">‹ 上頁</a>', 41),
        ('<a href="/bbs/B/index1.html">最舊</a><a class="disabled">‹ 上頁</a>', None),
    ],
)
def test_the_older_page_is_the_button_with_its_text(paging: str, previous: int | None) -> None:
    assert parse_index(index(row(1), paging), AT).previous == previous


@pytest.mark.parametrize(
    "paging", ["", '<a href="">‹ 上頁</a>', '<a href="/bbs/B/search?page=2">‹ 上頁</a>']
)
def test_a_page_that_hides_the_older_one_is_no_oldest_page(paging: str) -> None:
    with pytest.raises(LockstepError, match=r"上頁.*markup may have changed"):
        parse_index(index(row(1), paging), AT)


AGE = '<div class="bbs-screen"><div class="over18-notice">18?</div></div>'


@pytest.mark.parametrize("parse", [parse_index, parse_article])
def test_the_age_gate_is_an_error_and_no_empty_page(parse) -> None:
    with pytest.raises(LockstepError, match="over18=1"):
        parse(AGE, AT)


@pytest.mark.parametrize("parse", [parse_index, parse_article])
@given(html=st.text() | st.lists(st.sampled_from("<>![]-/a= \"'&;divCDATA")).map("".join))
def test_any_other_text_is_an_error_of_one_line(parse, html: str) -> None:
    with pytest.raises(LockstepError) as caught:
        parse(html, AT)
    assert "\n" not in str(caught.value)


# --- articles


def meta(**lines: str) -> str:
    return "".join(
        f'<div class="article-metaline"><span class="article-meta-tag">{tag}</span>'
        f'<span class="article-meta-value">{value}</span></div>'
        for tag, value in lines.items()
    )


def article(content: str, head: str = "") -> str:
    return f'<html><head>{head}</head><body><div id="main-content">{content}</div></body></html>'


def push(user: str, content: str) -> str:
    return (
        '<div class="push"><span class="push-tag">推 </span>'
        f'<span class="push-userid">{user}</span>'
        f'<span class="push-content">: {content}</span></div>'
    )


def image(name: str) -> str:
    return f'<a href="https://i.imgur.com/{name}.jpg">x</a>'


def test_meta_lines_are_read_by_their_tags() -> None:
    page = parse_article(
        article(
            meta(
                時間="Mon Jan  1 08:00:05 2024",
                標題="[x] a  b",
                看板="Beauty",
                作者="me (nick name)",
            )
        ),
        AT,
    )
    assert (page.title, page.author) == ("[x] a b", "me")


def test_missing_meta_lines_leave_the_shared_title() -> None:
    page = parse_article(article("text", '<meta property="og:title" content="[x] shared">'), AT)
    assert (page.title, page.author) == ("[x] shared", None)


def test_images_are_links_of_the_body_and_of_pushes_and_never_thumbnails() -> None:
    page = parse_article(
        article(
            meta(作者="me (x)")
            + image("body1")
            + '<div class="richcontent"><img src="https://cache.ptt.cc/c/x.jpg?e=1&s=2">'
            + f"{image('preview')}</div>"
            + '<img src="https://a.example/shown.jpg">'
            + push("you", "no link")
            + push("her", image("push2"))
            + f'<div class="richcontent">{image("push2preview")}</div>'
            + '<div class="push center warning-box">'
            + image("warning")
            + "</div>"
            + push("him", '<a href="https://i.imgur.com/push3.jpg)">x</a>')
            + '<a href="//i.imgur.com/body2.jpg">x</a><a href="https://imgur.com/a/abcde">x</a>'
        ),
        AT,
    )
    assert page.images == (
        ImageLink("https://i.imgur.com/body1.jpg", "body", "me"),
        ImageLink("https://i.imgur.com/body2.jpg", "body", "me"),
        ImageLink("https://i.imgur.com/push2.jpg", "push 2", "her"),
        ImageLink("https://i.imgur.com/push3.jpg", "push 3", "him"),
    )
    assert page.albums == ("https://imgur.com/a/abcde",)
    assert page.is_cut


def test_an_address_split_over_two_pushes_of_one_author_is_one() -> None:
    """The board makes a link of the beginning alone."""
    beginning = '<a href="https://i.imgur.com/AbCdE">https://i.imgur.com/AbCdE</a>'
    page = parse_article(article(push("u1", beginning) + push("u1", "fG.jpg 第二張")), AT)
    assert page.images == (ImageLink("https://i.imgur.com/AbCdEfG.jpg", "push 1", "u1"),)
    assert [mention.written for mention in page.mentions] == ["https://i.imgur.com/AbCdEfG.jpg"]
    assert not page.is_cut


def test_mentions_are_as_they_were_written_with_repeats() -> None:
    text = (
        '<a href="http://imgur.com/aaaaaaa.JPG?1">x</a> <a href="https://imgur.com/aaaaaaa">x</a> '
        "看https://imgur.com/aaaaaaa,bbbbbbb。"
    )
    page = parse_article(article(text), AT)
    assert [(mention.written, len(mention.images)) for mention in page.mentions] == [
        ("http://imgur.com/aaaaaaa.JPG?1", 1),
        ("https://imgur.com/aaaaaaa", 1),
        ("https://imgur.com/aaaaaaa,bbbbbbb", 2),
    ]
    assert [image.address[-11:] for image in page.images] == ["aaaaaaa.jpg", "bbbbbbb.jpg"]
