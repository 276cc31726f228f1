"""The walk through a board, against the replica and against pages made for the occasion."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from collecting import AGENT
from drawings import drawing
from lockstep.config.load import load_all
from lockstep.core.errors import LockstepError
from lockstep.sources.crawlers import check_crawl
from lockstep.sources.exclude import Exclusions
from lockstep.sources.listing import IMAGES, read_lines, read_list
from lockstep.sources.ptt import output
from lockstep.sources.ptt.article import Mention
from lockstep.sources.ptt.client import Client
from lockstep.sources.ptt.crawl import Article, Criteria, crawl, must_be_over
from lockstep.sources.ptt.names import in_taipei
from lockstep.sources.resume_cache import ResumeCache, open_cache
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Adapter, Loopback, session
from lockstep.synthetic.board import markup
from lockstep.synthetic.board.server import Served, Trouble, no_trouble, serve
from lockstep.synthetic.board.site import BOARD, SOURCE, Answer, Site

ROOT = Path(__file__).resolve().parent.parent
SITE = Site(70, 5, drawing)
ALL = Criteria(date(2022, 1, 1), date(2023, 12, 31))
INDEX = f"/bbs/{BOARD}/index.html"


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[ResumeCache]:
    with open_cache(tmp_path / "journal.db") as opened:
        yield opened


SETTINGS: dict = {"delay": 0.0, "policy": RetryPolicy(3, 0.0)}


def client(served: Served, **options: object) -> Client:
    return Client(session(Loopback(served.port), AGENT), SOURCE, **{**SETTINGS, **options})


def from_site(path: str) -> str | None:
    host = SOURCE.split("//")[1]
    answer = SITE.answer(host, path, {"over18": "1"})
    return answer.body.decode() if answer.status == 200 else None


def walk(wanted: Criteria, pages: ResumeCache, fetch: Callable = from_site) -> list[Article]:
    results = crawl(fetch, SOURCE, BOARD, wanted, pages)
    return [result for result in results if isinstance(result, Article)]


# --- which articles


def test_all_that_can_be_read_is_found_once_newest_first(pages: ResumeCache) -> None:
    found = walk(ALL, pages)
    expected = [post.id for post in reversed(SITE.posts) if post.kind == "article"]
    assert [article.id for article in found] == expected
    by_id = {post.id: post for post in SITE.posts}
    for article in found:
        post = by_id[article.id]
        assert article.title == post.title and article.author == post.user
        assert article.time == in_taipei(post.time)


def test_the_years_turn_at_midnight_in_taipei(pages: ResumeCache) -> None:
    old = walk(Criteria(date(2022, 1, 1), date(2022, 12, 31), replies=True), pages)
    new = walk(Criteria(date(2023, 1, 1), date(2023, 12, 31), replies=True), pages)
    both = walk(Criteria(date(2022, 1, 1), date(2023, 12, 31), replies=True), pages)
    assert new + old == both
    assert all("2022-01-01T00" <= article.time < "2023" for article in old)
    assert all("2023-01-01T00" <= article.time < "2024" for article in new)
    times = {in_taipei(post.time) for post in SITE.posts if post.kind in ("article", "reply")}
    for turn in ("2022-12-31T23:59:59+08:00", "2023-01-01T00:00:00+08:00"):
        assert (turn in {article.time for article in both}) == (turn in times)


def test_the_walk_stops_where_nothing_is_new_enough(pages: ResumeCache) -> None:
    asked: list[str] = []

    def fetch(path: str) -> str | None:
        asked.append(path)
        return from_site(path)

    found = walk(Criteria(date(2023, 11, 1), date(2023, 12, 31)), pages, fetch)
    assert 0 < len(found) < 20
    assert sum("index" in path for path in asked) <= 3  # of four
    assert len(asked) == len(set(asked)) <= len(found) + 4


def test_pushes_replies_and_announcements(pages: ResumeCache) -> None:
    hot = walk(Criteria(ALL.start, ALL.end, min_pushes=100), pages)
    assert [a.id for a in hot] == [
        post.id for post in reversed(SITE.posts) if post.score >= 100 and post.kind == "article"
    ]
    with_replies = walk(Criteria(ALL.start, ALL.end, replies=True), pages)
    kinds = {post.id: post.kind for post in SITE.posts}
    assert {kinds[article.id] for article in with_replies} == {"article", "reply"}
    assert not any("公告" in article.title for article in with_replies)


def test_an_article_deleted_meanwhile_is_left_out_for_good(
    pages: ResumeCache,
) -> None:
    gone = walk(ALL, pages)[0].id
    pages.remove(f"/bbs/{BOARD}/{gone}.html")
    for fetch in (lambda path: None, pytest.fail):
        assert gone not in [article.id for article in walk(ALL, pages, fetch)]


def test_the_time_is_that_of_the_file_name_whatever_the_page_says(pages: ResumeCache) -> None:
    def fetch(path: str) -> str | None:
        html = from_site(path)
        if html is None or "index" in path:
            return html
        return re.sub(r"\w{3} \w{3} [ \d]\d [\d:]+ 20\d\d", "Sat Jan  1 00:00:00 2000", html)

    by_id = {post.id: post for post in SITE.posts}
    found = walk(ALL, pages, fetch)
    assert found and all(one.time == in_taipei(by_id[one.id].time) for one in found)


def test_an_article_without_its_middle_is_told(
    pages: ResumeCache, capsys: pytest.CaptureFixture[str]
) -> None:
    found = walk(ALL, pages)
    long = {post.id for post in SITE.posts if post.is_long} & {article.id for article in found}
    lines = [line for line in capsys.readouterr().err.splitlines() if "檔案過大" in line]
    assert long and len(lines) == len(long)
    assert all(any(id in line for line in lines) for id in long)


def test_a_row_that_is_no_article_is_told(
    pages: ResumeCache, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = walk(ALL, pages)[0].id
    pages.remove(INDEX)

    def fetch(path: str) -> str | None:
        html = from_site(path)
        return html and html.replace(f"{gone}.html", "poll.html")

    found = walk(ALL, pages, fetch)
    assert gone not in [article.id for article in found]
    assert f"/bbs/{BOARD}/poll.html: leads to no article" in capsys.readouterr().err


def test_missing_meta_lines_are_filled_from_the_index_and_the_file_name(pages: ResumeCache) -> None:
    def fetch(path: str) -> str | None:
        if "index" in path:
            return from_site(path)
        return '<div id="main-content">nothing is said here</div>'

    by_id = {post.id: post for post in SITE.posts}
    for article in walk(ALL, pages, fetch):
        post = by_id[article.id]
        said = (article.title, article.author, article.time)
        assert said == (post.title, post.user, in_taipei(post.time))


def test_an_author_whom_only_the_index_names_can_be_excluded(
    tmp_path: Path, pages: ResumeCache
) -> None:
    def fetch(path: str) -> str | None:
        if "index" in path:
            return from_site(path)
        return f'<div id="main-content"><a href="https://a.example/{path[-15:-5]}.jpg">x</a></div>'

    articles = walk(ALL, pages, fetch)
    output.write(tmp_path, articles)
    excluded = Exclusions(frozenset({articles[0].author.lower()}))
    rows = [{**row, "sha256": ""} for row in read_list(tmp_path / IMAGES)]
    assert excluded.naming(rows[0]) and not all(map(excluded.naming, rows))


# --- errors


def test_a_day_that_is_not_over_is_refused() -> None:
    today = date(2024, 3, 1)
    must_be_over(date(2024, 2, 29), today)
    for end in (today, date(2024, 3, 2)):
        with pytest.raises(LockstepError, match=f"crawl.end: {end} .* a day before 2024-03-01"):
            must_be_over(end, today)


def test_the_replicas_days_are_all_over_and_others_boards_are_asked_about() -> None:
    params = load_all(ROOT / "params.yaml")["faces"]
    never = dataclasses.replace(params.crawl, end="9999-12-30")
    check_crawl(dataclasses.replace(params, crawl=never))
    web = dataclasses.replace(never, source="https://board.example")
    with pytest.raises(LockstepError, match=r"crawl\.end: 9999-12-30 is not over yet"):
        check_crawl(dataclasses.replace(params, crawl=web))
    photos = load_all(ROOT / "params.yaml")["iclevr"]
    check_crawl(dataclasses.replace(photos, crawl=web))  # has nothing to crawl


def test_a_board_that_is_not_there(pages: ResumeCache) -> None:
    with pytest.raises(LockstepError, match=r"crawl\.board"):
        list(crawl(from_site, SOURCE, "Ugly", ALL, pages))
    # A mistake is not remembered as the truth.
    assert pages.get("/bbs/Ugly/index.html") is None


def test_a_page_that_is_none_is_not_kept(pages: ResumeCache) -> None:
    for html in ("", "<p>Server Too Busy</p>", markup.age_question("/")):
        with pytest.raises(LockstepError):
            walk(ALL, pages, lambda path, html=html: html)
    assert len(walk(ALL, pages)) > 50


# --- the client


def test_the_client_passes_the_age_gate_and_says_if_it_cannot() -> None:
    with serve(SITE.answer) as served:
        assert "r-list-container" in (client(served).page(INDEX) or "")
        refused = client(served)
        refused._session.cookies.clear()
        with pytest.raises(LockstepError, match="over18=1"):
            refused.page(INDEX)


def test_a_page_that_moved_is_an_error_and_not_followed() -> None:
    elsewhere = Trouble(status=301, headers={"Location": "http://169.254.169.254/"})
    with serve(SITE.answer, lambda *r: None if "robots" in r[1] else elsewhere) as served:
        with pytest.raises(LockstepError, match="the server sends to http://169"):
            client(served).page(INDEX)
        assert len(served.log) == 2


def test_every_request_says_who_asks() -> None:
    """A filter may refuse a word in it, and whoever runs a server must know whom to write to."""
    agent, seen = "lockstep/0.1 (+https://me.example/contact)", []

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["User-Agent"]))
            self.send_response(200 if self.path == INDEX else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Asked) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        asking = session(Loopback(server.server_address[1]), agent)
        Client(asking, SOURCE, **SETTINGS).page(INDEX)
        server.shutdown()
        thread.join()
    assert seen == [("/robots.txt", agent), (INDEX, agent)]


def test_a_busy_server_is_asked_again_as_late_as_it_wishes() -> None:
    def busy(host: str, target: str, number: int) -> Trouble | None:
        troubles = [Trouble(status=429, headers={"Retry-After": "9"}), Trouble(status=503)]
        return troubles[number - 1] if target == INDEX and number <= 2 else None

    pauses: list[float] = []
    with serve(SITE.answer, busy) as served:
        patient = client(served, policy=RetryPolicy(3, 1.0), sleep=pauses.append)
        assert patient.page(INDEX)
        assert [r.status for r in served.log] == [200, 429, 503, 200]
    assert pauses == [9.0, 2.0]


def test_after_the_last_try_the_error_says_that_nothing_is_lost() -> None:
    with serve(SITE.answer, lambda *r: Trouble(status=500)) as served:
        with pytest.raises(LockstepError, match="HTTP 500, 3 tries; run again later"):
            client(served).page(INDEX)
        assert len(served.log) == 3


def test_where_no_later_try_helps_the_error_does_not_advise_one() -> None:
    wrong = Client(session(Adapter(public_only=True), AGENT), "http://127.0.0.1:9", **SETTINGS)
    with pytest.raises(LockstepError, match=r"not a public address; .*crawl\.source: http://127"):
        wrong.page(INDEX)
    closed = Trouble(status=503, headers={"Retry-After": "4000"})
    with (
        serve(SITE.answer, lambda *r: closed) as served,
        pytest.raises(LockstepError, match="HTTP 503; run again in 4000 seconds"),
    ):
        client(served).page(INDEX)


def test_there_is_a_pause_between_any_two_requests() -> None:
    pauses: list[float] = []
    with serve(SITE.answer, lambda *r: Trouble(keep=0.5) if r[2] == 1 else None) as served:
        polite = client(served, delay=30.0, sleep=pauses.append)
        polite.page(INDEX)
        waits = [pause for pause in pauses if pause > 0]
        assert len(served.log) == 4 and len(waits) == 3
    assert all(29.0 < wait <= 30.0 for wait in waits)


def robots(text: str, status: int = 200) -> Callable[[str, str, dict[str, str]], Answer]:
    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        if target == "/robots.txt":
            return Answer(status, text.encode())
        return SITE.answer(host, target, cookies)

    return answer


def test_robots_txt_is_respected() -> None:
    with serve(robots("User-agent: *\nDisallow: /bbs/Beauty/M")) as served:
        asking = client(served)
        assert asking.page(INDEX)
        with pytest.raises(LockstepError, match=r"robots\.txt"):
            asking.page(f"/bbs/{BOARD}/{SITE.posts[0].id}.html")
        assert [r.target for r in served.log] == ["/robots.txt", INDEX]
    # Another group's, and the longest rule, which the standard library's parser got wrong.
    text = "User-agent: x\nDisallow: /\n\nUser-agent: *\nDisallow: /bbs/*\nAllow: /bbs/Beauty/"
    with serve(robots(text)) as served:
        assert client(served).page(INDEX)
        with pytest.raises(LockstepError, match=r"robots\.txt"):
            client(served).page("/bbs/Other/index.html")


def test_robots_txt_that_cannot_be_had_now_is_asked_for_again() -> None:
    def away(host: str, target: str, number: int) -> Trouble | None:
        return Trouble(status=503) if target == "/robots.txt" and number <= 2 else None

    pauses: list[float] = []
    with serve(SITE.answer, away) as served:
        patient = client(served, policy=RetryPolicy(3, 1.0), sleep=pauses.append)
        assert patient.page(INDEX) and patient.page(INDEX)
        assert [r.target for r in served.log] == ["/robots.txt"] * 3 + [INDEX] * 2
    assert pauses == [1.0, 2.0]


def test_robots_txt_may_ask_for_more_time_or_be_missing() -> None:
    pauses: list[float] = []
    with serve(robots("User-agent: *\nCrawl-delay: 40")) as served:
        client(served, sleep=pauses.append).page(INDEX)
    assert len(pauses) == 1 and 39 < pauses[0] <= 40
    with serve(robots("Disallow: /", 404)) as served:
        assert client(served).page(INDEX)


# --- outputs


def test_the_files_say_what_was_found_each_image_once(tmp_path: Path, pages: ResumeCache) -> None:
    articles = walk(ALL, pages)
    assert output.write(tmp_path, articles) == (
        len(articles),
        len({mention.address for article in articles for mention in article.images}),
    )
    lines = list(read_lines(tmp_path / output.ARTICLES))
    assert list(lines[0]) == ["id", "title", "author", "time", "pushes", "url", "albums"]
    assert [line["id"] for line in lines] == [article.id for article in articles]
    images = json.loads((tmp_path / IMAGES).read_text("utf-8"))
    assert images == list(read_list(tmp_path / IMAGES))
    named = [
        (image["address"], by["article"], by["place"])
        for image in images
        for by in image["named_by"]
    ]
    mentions = [(m.address, a.id, m.place) for a in articles for m in a.images]
    assert sorted(named) == sorted(mentions)
    assert any(len(image["named_by"]) > 1 for image in images)
    links = list(read_lines(tmp_path / output.LINKS))
    assert [(link["article"], link["written"]) for link in links] == [
        (article.id, mention.written) for article in articles for mention in article.mentions
    ]
    assert any(link["written"] not in link["addresses"] for link in links)
    assert (tmp_path / output.FAILED).read_text() == ""
    assert [image["address"] for image in images] == list(dict.fromkeys(m[0] for m in mentions))


def test_a_year_is_joined_in_steps_that_grow_with_it_and_no_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A join without an index took 200 s for a year: the square of its mentions."""
    steps = [0]
    connect = sqlite3.connect

    def counted(name: str) -> sqlite3.Connection:
        database = connect(name)
        steps[0] = 0

        def tick() -> int:
            steps[0] += 1
            return 0

        database.set_progress_handler(tick, 100)
        return database

    def year(articles: int) -> Iterator[Article]:
        for number in range(articles):
            mentions = tuple(
                Mention(address, (address,), "body", "me")
                for address in (
                    f"https://i.imgur.com/{(number * 8 + i) % (articles * 6):07}.jpg"
                    for i in range(10)
                )
            )
            yield Article(f"M.{number}.A.0", "t", "me", "", 0, "", (), mentions)

    monkeypatch.setattr(sqlite3, "connect", counted)
    counts = []
    for articles in (100, 400, 1600):
        assert output.write(tmp_path, year(articles))[0] == articles
        counts.append(steps[0])
    assert counts[1] < 5 * counts[0] and counts[2] < 5 * counts[1]


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match=r"0 articles found.*crawl\.start"):
        output.write(tmp_path, [])


def test_everything_over_the_wire_is_what_the_site_says(tmp_path: Path) -> None:
    with serve(SITE.answer, no_trouble) as served, open_cache(tmp_path / "a.db") as one:
        over_the_wire = walk(ALL, one, client(served).page)
    with open_cache(tmp_path / "b.db") as other:
        assert over_the_wire == walk(ALL, other)


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 100)
    with (
        pytest.raises(LockstepError, match=r"journal\.db: damaged .*delete it"),
        open_cache(tmp_path / "journal.db"),
    ):
        pass


def test_a_journal_without_room_is_kept(tmp_path: Path) -> None:
    with open_cache(tmp_path / "journal.db") as pages:
        pages.put("a", "b")
        pages._database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(LockstepError, match=r"journal\.db: not usable now .*full.*room"):
            pages.put("noise", "".join(map(chr, range(32, 50_000))))
        assert pages.get("a") == "b"


def test_the_mistakes_of_another_database_are_not_the_journals(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError), open_cache(tmp_path / "journal.db"):
        sqlite3.connect("").execute("SELECT * FROM nothing")


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.json"
    path.write_text('[\n{"address": "x"},\n{"addr')
    with pytest.raises(LockstepError, match=r"images\.json: damaged"):
        list(read_list(path))
    with pytest.raises(LockstepError, match="missing"):
        list(read_list(tmp_path / "none.json"))
