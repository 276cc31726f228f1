"""The replica of the board: what it shows, and that it always shows the same."""

from __future__ import annotations

import pytest

from drawings import drawing
from lockstep.sources.ptt.article import parse_article
from lockstep.sources.ptt.index import parse_index
from lockstep.sources.ptt.links import Image, classify
from lockstep.sources.ptt.names import article_id, in_taipei
from lockstep.synthetic.board import hosting, markup
from lockstep.synthetic.board.site import BOARD, SOURCE, Answer, Site

COOKIE = {"over18": "1"}
SITE = Site(300, 0, drawing)


def get(address: str, site: Site = SITE) -> Answer:
    _, _, host, path = address.split("/", 3)
    return site.answer(host, f"/{path}", COOKIE)


def page(path: str) -> str:
    answer = get(f"{SOURCE}/bbs/{BOARD}/{path}.html")
    assert answer.status == 200
    return answer.body.decode()


def test_a_seed_decides_everything() -> None:
    again, other = Site(300, 0, drawing), Site(300, 1, drawing)
    assert again.posts == SITE.posts and again.images == SITE.images
    assert other.posts != SITE.posts and other.images != SITE.images
    target = f"/bbs/{BOARD}/index.html"
    assert again.answer(hosting.PAGES, target, COOKIE) == SITE.answer(hosting.PAGES, target, COOKIE)


def test_two_years_are_on_it_with_midnights_at_the_turn() -> None:
    times = [post.time for post in SITE.posts]
    assert len(times) == 300 and times == sorted(times)
    assert in_taipei(times[0]) == "2022-01-01T00:00:00+08:00"
    assert in_taipei(times[-1]) == "2023-12-31T23:59:59+08:00"
    turn = [in_taipei(t) for t in times if in_taipei(t)[11:19] in ("00:00:00", "23:59:59")]
    assert "2022-12-31T23:59:59+08:00" in turn and "2023-01-01T00:00:00+08:00" in turn


def test_index_pages_have_twenty_rows_overlap_and_end_in_a_404() -> None:
    last = SITE.index_pages
    newest = page("index")
    assert newest.count('class="r-ent"') <= 20 + 4 and "r-list-sep" in newest
    assert page(f"index{last}") == newest
    for number in range(1, last):
        assert page(f"index{number}").count('class="r-ent"') == 20
        assert "r-list-sep" not in page(f"index{number}")
    own, pinned = newest.split("r-list-sep")
    linked = [post.id for post in SITE.posts if f"{post.id}.html" in pinned]
    assert len(linked) == 1 and linked[0] not in own
    assert parse_index(newest, "").previous == last - 1
    assert parse_index(page("index1"), "").previous is None
    assert get(f"{SOURCE}/bbs/{BOARD}/index{last + 1}.html").status == 404
    shown = {row.id for n in range(1, last + 1) for row in parse_index(page(f"index{n}"), "").rows}
    assert shown == {post.id for post in SITE.posts if post.kind != "deleted"}


def test_all_that_is_odd_on_a_board_is_on_this_one() -> None:
    kinds = {post.kind for post in SITE.posts}
    assert kinds == {"article", "reply", "announcement", "forwarded", "deleted"}
    shown = {markup.shown(post.score) for post in SITE.posts}
    assert {"爆", "", "XX"} <= shown and any(
        text.startswith("X") and text != "XX" for text in shown
    )
    assert {tag for post in SITE.posts for tag in post.unsaid} == {"作者", "看板", "標題", "時間"}
    html = "".join(page(post.id) for post in SITE.posts if post.kind != "deleted")
    for mark in ("warning-box", "__cf_email__", "richcontent", "/gallery/", '.jpg)"', '.jpg]"'):
        assert mark in html
    assert {image.form for image in SITE.images} == {None, *hosting.FORMS}
    assert {image.fault for image in SITE.images} == {None, *hosting.FAULTS}


def test_without_the_cookie_there_is_a_question() -> None:
    answer = SITE.answer(hosting.PAGES, f"/bbs/{BOARD}/index.html", {})
    assert answer.status == 302 and answer.headers["Location"].startswith("/ask/over18")
    assert b"over18-notice" in SITE.answer(hosting.PAGES, "/ask/over18?from=x", {}).body


def test_every_image_is_named_and_every_name_leads_to_it() -> None:
    named = set()
    for post in SITE.posts:
        if post.kind == "deleted":
            continue
        address = f"{SOURCE}/bbs/{BOARD}/{post.id}.html"
        assert article_id(address) == post.id
        named |= {mention.address for mention in parse_article(page(post.id), address).images}
    assert named == {image.address for image in SITE.images}
    for hosted in SITE.images[:300]:
        assert classify(hosted.address) == (Image(hosted.address),)
        assert SITE.hosted(hosted.address) == hosted


def test_the_drawn_images_are_numbered_without_a_gap() -> None:
    shown = {image.shows for image in SITE.images if image.fault is None}
    assert shown == set(range(len(shown))) and 600 < len(shown) < 750


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        ("missing", 404, b"<!DOCTYPE"),
        ("removed", 302, b""),
        ("page", 200, b"<!DOCTYPE"),
        ("empty", 200, b""),
        ("cut", 200, b"\x89PNG"),
        ("noise", 200, b"\x00\x01"),
        ("loop", 302, b""),
        ("bomb", 200, b"\x89PNG"),
    ],
)
def test_each_fault(fault: str, status: int, start: bytes) -> None:
    address = next(image.address for image in SITE.images if image.fault == fault)
    answer = get(address)
    assert answer.status == status and answer.body.startswith(start)
