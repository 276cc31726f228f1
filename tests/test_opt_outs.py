"""Who does not want to be collected: X-Robots-Tag headers and robots.txt."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import killed
from collecting import AGENT
from drawings import drawing
from lockstep.sources.listing import read_lines, write_list
from lockstep.sources.web import session as web
from lockstep.sources.web.get import Failed
from lockstep.sources.web.opt_outs import OPT_OUTS, opt_out
from lockstep.sources.web.robots import RobotsTxt, Rules, parse, product_of
from lockstep.sources.web.session import Loopback
from lockstep.synthetic.board.server import Served, Trouble, serve
from lockstep.synthetic.board.site import Answer

# --- headers


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([""], None),
        (["all"], None),
        (["nofollow, noarchive, max-image-preview:large"], None),
        *(([word], word) for word in sorted(OPT_OUTS)),
        (["NoAI"], "noai"),
        (["NOINDEX,NOFOLLOW"], "noindex"),
        (["nofollow ,\tnoimageai"], "noimageai"),
        (["nofollow", "noai, noimageai"], "noai"),
        (["otherbot: noindex"], None),
        (["otherbot: noindex, noai"], None),
        (["otherbot: noindex, lockstep: noai"], "noai"),
        (["noai, otherbot: noindex"], "noai"),
        (["otherbot: nofollow", "noindex"], "noindex"),
        (["Lockstep: NoAI"], "noai"),
        (["lockstep : none"], "none"),
        (["*: noml"], "noml"),
        (["googlebot: noindex, *: noai"], "noai"),
        (["max-snippet: 20, noai"], "noai"),
        (["unavailable_after: Wed, 25 Jun 2030 15:00:00 PST, noindex"], "noindex"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST"], None),
        (["noaisle, no ai, noindexing"], None),
    ],
)
def test_which_headers_opt_out(headers: list[str], found: str | None) -> None:
    assert opt_out(headers, "lockstep") == found


@given(st.lists(st.text(max_size=30)))
def test_no_header_is_too_odd(headers: list[str]) -> None:
    assert opt_out(headers, "lockstep") in (None, *OPT_OUTS)


@given(
    st.lists(st.sampled_from(["nofollow", "NoArchive", " ", "max-snippet: 5"])),
    st.sampled_from(sorted(OPT_OUTS)),
    st.booleans(),
)
def test_it_is_found_wherever_it_stands(others: list[str], word: str, upper: bool) -> None:
    said = word.upper() if upper else word
    assert opt_out([", ".join([*others, said])], "x") == word
    assert opt_out([", ".join([said, *others])], "x") == word
    assert opt_out([*others, said], "x") == word


# --- rules

EXAMPLE = """\ufeff# a comment
User-agent: OtherBot
Disallow: /

User-Agent: *
User-agent: second
Disallow: /private/   # and why
Allow: /private/open
Disallow: /*.gif$
disallow : /a*z
Disallow:
Crawl-delay: 9

Sitemap: https://a.example/sitemap.xml
User-agent: second
Disallow: /only-second
no rule at all
"""


@pytest.mark.parametrize(
    ("product", "path", "allowed"),
    [
        ("lockstep", "/", True),
        ("lockstep", "/x.jpg", True),
        ("lockstep", "/private/x.jpg", False),
        ("lockstep", "/private", True),
        ("lockstep", "/private/open/x.jpg", True),  # the longer rule
        ("lockstep", "/x.gif", False),
        ("lockstep", "/x.gif?size=1", True),
        ("lockstep", "/x?y=/.gif", False),
        ("lockstep", "/abcz", False),
        ("lockstep", "/abcz/more", False),
        ("lockstep", "/only-second", True),
        ("second", "/only-second", False),
        ("SECOND", "/private/", False),
        ("otherbot", "/x.jpg", False),
        ("otherbot", "/robots.txt", True),
        ("otherbotany", "/x.jpg", True),
    ],
)
def test_which_rules_hold(product: str, path: str, allowed: bool) -> None:
    assert parse(EXAMPLE, product).allow(path) == allowed


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("<!DOCTYPE html>\n<p>not found", True),
        ("Disallow: /", True),  # of no group
        ("User-agent: *\nDisallow: /", False),
        ("User-agent: *\rDisallow: /\r\n", False),
        ("User-agent: *\nDisallow: /\nAllow: /", True),  # as long: the one that allows
        ("User-agent: *\nDisallow: /\nAllow: /images/", True),
        ("User-agent: *\nDisallow: /images/%c3%A4", False),
        ("User-agent: *\nDisallow: /images/ä", False),
        ("User-agent: lockstep\nAllow: /\n\nUser-agent: *\nDisallow: /", True),
        ("User-agent: lockstep/2.0 (x)\nDisallow: /", False),
        ("User-agent: *\n\nUser-agent: x\nDisallow: /", False),  # an empty line ends no group
    ],
)
def test_more_rules(text: str, allowed: bool) -> None:
    assert parse(text, "lockstep").allow("/images/%C3%A4.jpg") == allowed


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        (EXAMPLE, 9.0),  # of `*`
        ("Crawl-delay: 9", 0.0),  # of no group
        ("User-agent: lockstep\nCrawl-delay: 0.5\nUser-agent: *\nCrawl-delay: 9", 0.5),
        ("User-agent: lockstep\nDisallow: /x\nUser-agent: *\nCrawl-delay: 9", 0.0),
        ("User-agent: lockstep\nUser-agent: x\nCRAWL-DELAY : 4 # s", 4.0),
        ("User-agent: lockstep\nAllow: /\nCrawl-delay: 2\nCrawl-delay: 3\nCrawl-delay: 1", 3.0),
        *((f"User-agent: *\nCrawl-delay: {odd}", 0.0) for odd in ("", "-1", "nan", "inf", "1e9")),
        *((f"User-agent: *\nCrawl-delay: {odd}", 0.0) for odd in ("1 s", "1,5", "\u0663", ".5")),
        ("User-agent: *\nCrawl-delay: 86400", 300.0),
        (f"User-agent: *\nCrawl-delay: {'9' * 400}", 300.0),
    ],
)
def test_how_long_to_wait_between_requests(text: str, delay: float) -> None:
    assert parse(text, "lockstep").delay == delay


def test_a_delay_ends_no_list_of_names() -> None:
    text = "User-agent: lockstep\nCrawl-delay: 5\nUser-agent: x\nCrawl-delay: 7\nDisallow: /"
    assert parse(text, "lockstep") == Rules(((False, "/"),), 5.0)
    assert parse(text, "x") == Rules(((False, "/"),), 7.0)


@given(st.text(alphabet="/ab*", max_size=8), st.booleans(), st.text(alphabet="/ab", max_size=12))
def test_wildcards_are_those_of_a_regular_expression(pattern: str, end: bool, path: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*"))) + ("$" if end else "")
    expected = re.match(expression, path) is None
    assert Rules(((False, pattern + ("$" if end else "")),)).allow(path) == expected


@given(st.text(), st.text(max_size=20))
def test_no_text_is_too_odd(text: str, path: str) -> None:
    parse(text, "lockstep").allow(path)
    assert 0 <= parse(f"User-agent: *\nCrawl-delay: {text}", "lockstep").delay <= 300


@pytest.mark.parametrize(
    ("user_agent", "product"),
    [("lockstep (image data sets)", "lockstep"), ("My-Bot/2.1", "My-Bot"), ("(x)", "")],
)
def test_the_name_that_rules_go_by(user_agent: str, product: str) -> None:
    assert product_of(user_agent) == product


# --- robots.txt on servers

FORBIDDEN = b"User-agent: *\nDisallow: /\n"


def allowed_at(
    answer: Answer, trouble: Trouble | None = None, address: str = "https://a.example/x.jpg"
) -> bool:
    with serve(lambda *request: answer, lambda *request: trouble) as served:
        return RobotsTxt(web.session(Loopback(served.port), AGENT), 2.0).allow(address)


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        (Answer(200, FORBIDDEN), False),
        (Answer(200, b""), True),
        (Answer(200, b"\xff\xfe\x00" * 100), True),
        (Answer(401, FORBIDDEN), True),
        (Answer(403, FORBIDDEN), True),
        (Answer(404, FORBIDDEN), True),
        (Answer(302, headers={"Location": "/robots.txt"}), True),  # for ever
        (Answer(302, headers={"Location": "ftp://a.example/"}), True),
        (Answer(200, FORBIDDEN + b"#" * 1_000_000), False),
    ],
)
def test_what_a_robots_txt_allows(answer: Answer, allowed: bool) -> None:
    assert allowed_at(answer) == allowed


@pytest.mark.parametrize(
    "trouble",
    [Trouble(status=503), Trouble(status=429), Trouble(status=599), Trouble(keep=0.5)],
)
def test_one_that_cannot_be_had_allows_nothing_now(trouble: Trouble) -> None:
    with pytest.raises(Failed) as caught:
        allowed_at(Answer(200, FORBIDDEN), trouble)
    assert caught.value.transient


@pytest.mark.parametrize(
    "address", ["ftp://a.example/x", "https://", "x", "http://[::1/x", "http://a.example/\ud800"]
)
def test_addresses_that_nobody_can_ask_for(address: str) -> None:
    assert allowed_at(Answer(200), address=address)


def test_a_redirected_one_counts() -> None:
    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        if host == "a.example":
            return Answer(301, headers={"Location": "https://b.example/robots.txt"})
        return Answer(200, FORBIDDEN)

    with serve(answer) as served:
        robots = RobotsTxt(web.session(Loopback(served.port), AGENT), 2.0)
        assert not robots.allow("https://a.example/x.jpg")


def test_each_host_is_asked_once_also_by_several_at_once() -> None:
    troubles = {1: Trouble(status=503), 2: Trouble(wait=0.1)}
    with serve(
        lambda *request: Answer(200, FORBIDDEN), lambda *request: troubles.get(request[2])
    ) as served:
        robots = RobotsTxt(web.session(Loopback(served.port), AGENT), 5.0)
        with pytest.raises(Failed, match="HTTP 503"):
            robots.allow("https://a.example/x.jpg")
        asking = [
            threading.Thread(target=robots.allow, args=(f"https://a.example/{number}.jpg",))
            for number in range(4)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert not robots.allow("https://user@A.example/y.jpg")
        assert [r.target for r in served.log] == ["/robots.txt"] * 2


# --- a download

HOSTS = {
    "open.example": Answer(404),
    "closed.example": Answer(200, FORBIDDEN),
    "ours.example": Answer(200, b"User-agent: lockstep\nDisallow: /1\n"),
}
HEADERS = {
    "/1.png": {"X-Robots-Tag": "noai, noimageai"},
    "/2.png": {"X-Robots-Tag": "otherbot: noindex"},
    "/3.png": {"X-Robots-Tag": "NOINDEX"},
}


def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
    if target == "/robots.txt":
        return HOSTS[host]
    if target == "/moved":
        return Answer(302, headers={"Location": "https://closed.example/4.png"})
    return Answer(200, drawing(int(target[1])).data, HEADERS.get(target, {}))


ADDRESSES = [
    *(f"https://{host}/{number}.png" for host in HOSTS for number in range(4)),
    "https://open.example/moved",
]
REASONS = {
    "https://open.example/1.png": "opted out: noai",
    "https://open.example/3.png": "opted out: noindex",
    "https://closed.example/0.png": "robots.txt forbids",
    "https://closed.example/1.png": "robots.txt forbids",
    "https://closed.example/2.png": "robots.txt forbids",
    "https://closed.example/3.png": "robots.txt forbids",
    "https://ours.example/1.png": "robots.txt forbids",
    "https://ours.example/3.png": "opted out: noindex",
    "https://open.example/moved": "robots.txt forbids",
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A download with these settings; gives the reasons of the addresses without an image."""
    write_list(tmp_path / "images.json", [{"address": a, "named_by": []} for a in ADDRESSES])

    def download(served: Served, **changes: object) -> dict[str, str]:
        wanted = dataclasses.replace(killed.SETTINGS, max_failed_fraction=1.0, **changes)
        killed.run_download(served.port, tmp_path, tmp_path / "images.json", wanted)
        out = tmp_path / "downloaded"
        failed = dict(line.split("\t") for line in (out / "failed.txt").read_text().splitlines())
        good = {line["address"] for line in read_lines(out / "manifest.jsonl")}
        assert good == set(ADDRESSES) - set(failed)
        return failed

    return download


def asked(served: Served) -> list[str]:
    return sorted(f"https://{r.host}{r.target}" for r in served.log if r.target != "/robots.txt")


def test_who_opts_out_is_left_out(run: Callable[..., dict[str, str]]) -> None:
    with serve(answer) as served:
        assert run(served) == REASONS
        forbidden = {a for a, reason in REASONS.items() if "moved" not in a and "robots" in reason}
        assert asked(served) == sorted(set(ADDRESSES) - forbidden)
        log = len(served.log)
        assert run(served) == REASONS and len(served.log) == log


def test_the_parameter_takes_them_all_and_asks_for_no_other_again(
    run: Callable[..., dict[str, str]],
) -> None:
    with serve(answer) as served:
        run(served)
        served.log.clear()
        assert run(served, respect_opt_outs=False) == {}
        followed = "https://closed.example/4.png"
        assert asked(served) == sorted([*REASONS, followed])
        assert "/robots.txt" not in {r.target for r in served.log}
        served.log.clear()
        # What came without a look at its headers is looked at.
        assert run(served) == REASONS


def test_files_of_those_who_opted_out_meanwhile_are_in_no_output(
    run: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    with serve(answer) as served:
        run(served, respect_opt_outs=False)
        assert len(list((tmp_path / "downloaded" / "images").iterdir())) == 5
        run(served)
        assert len(list((tmp_path / "downloaded" / "images").iterdir())) == 2
