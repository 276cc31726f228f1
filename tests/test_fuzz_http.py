"""HTTP answers that are nearly right, off a real socket: a body, or a reason why there is none."""

from __future__ import annotations

import gzip
import io
import itertools
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collecting import AGENT, contents
from fuzzing import damaged, one_line
from lockstep.core import download
from lockstep.core.errors import LockstepError
from lockstep.sources.download.fetch import Fetcher
from lockstep.sources.web import robots
from lockstep.sources.web import session as web
from lockstep.sources.web.breaker import Hosts
from lockstep.sources.web.get import Answer, Failed, Limits, get
from lockstep.sources.web.opt_outs import OPT_OUTS, opt_out
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.robots import RobotsTxt
from lockstep.sources.web.session import Loopback
from raw_server import Raw

LIMITS = Limits(seconds=5.0, bytes=10_000)
BODY = bytes(range(256)) * 8


@pytest.fixture(scope="module")
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.close()


_STATUS = (
    *("HTTP/1.1 200 OK",) * 6,
    *("HTTP/1.0 200 OK", "HTTP/1.1 200", "HTTP/1.1 302 x", "HTTP/1.1 304 x", "HTTP/1.1 204 x"),
    *("HTTP/1.1 206 x", "HTTP/1.1 101 x", "HTTP/1.1 999 x", "HTTP/1.1 -1 x", "HTTP/1.1 20 x"),
    *(
        "HTTP/1.1 429 x",
        "HTTP/1.1 503 x",
        "HTTP/1.1 ２００ x",
        "HTTP/9 200 x",
        "HTTP/1.1  ",
        "ICY 200 x",
    ),
    *("", "\0", "200 OK", "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK", "x" * 70_000),
)
_HEADERS = (
    *(
        f"Content-Length: {n}"
        for n in (len(BODY), len(BODY) - 1, len(BODY) + 1, 0, -1, "1e3", "9" * 5000)
    ),
    *("Content-Length: 5, 6", "Content-Length: ", "Content-Length: ٣", "Content-Length: +5"),
    *("Transfer-Encoding: chunked",) * 3,
    *("Transfer-Encoding: gzip, chunked", "Transfer-Encoding: x", "Transfer-Encoding: chunked, x"),
    *("Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br"),
    *("Content-Encoding: gzip, gzip", f"Content-Encoding: {', '.join(['gzip'] * 500)}"),
    *(
        "Content-Encoding: x",
        "Content-Encoding: zstd",
        "Connection: close",
        "Connection: keep-alive",
    ),
    *("Location: /x", "Location: //[", "Location: http://[::1", "Location: \xff\xfe", "Location: "),
    *(
        "Location: http://a:99999/",
        "Location: javascript:x",
        "Location: http://\xe9/",
        "Location: \0",
    ),
    *(
        f"Retry-After: {n}"
        for n in ("1", "-1", "9" * 400, "x", "Mon, 99 Foo 99999 99:99:99 +9999", "")
    ),
    *(
        "Set-Cookie: a=b; Expires=x; Max-Age=-99999999999999999999; Version=x",
        "Set-Cookie: ;",
        ": x",
    ),
    *("Set-Cookie: a=b; Domain=.; Path=//; Expires=Mon, 01-Jan-99999 00:00:00 GMT", "x", " x: y"),
    *(
        "X-Robots-Tag: noai",
        "X-Robots-Tag: : :,::, unavailable_after: x:, noai",
        "\xff: \xff",
        "\0: \0",
    ),
    "X: " + "x" * 70_000,
)
_BODIES = (
    *(BODY, b"", BODY * 8, gzip.compress(BODY), zlib.compress(BODY), zlib.compress(BODY)[2:-4]),
    *(
        gzip.compress(bytes(10**7)),
        gzip.compress(gzip.compress(bytes(10**7))),
    ),
    *(gzip.compress(BODY) * 3, gzip.compress(BODY) + b"x" * 50, gzip.compress(BODY)[:-5]),
)
_LENGTHS = (
    b"800",
    b"1",
    b"0",
    b"-1",
    b"-5",
    b"+5",
    b"0x5",
    b"1_0",
    b"",
    b" 5 ",
    b"x",
    b"f" * 40,
    b"5;a=b",
)
_LENGTHS += (b"5" * 70_000,)
_TRAILERS = (b"0\r\n\r\n", b"0\r\n", b"0\r\na: b\r\n\r\n", b"", b"0\r\n" + b"x" * 70_000)


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    body = draw(st.sampled_from(_BODIES))
    if draw(st.booleans()):
        lengths = draw(st.lists(st.sampled_from(_LENGTHS) | st.just(b"%x" % len(body)), max_size=2))
        body = b"".join(length + b"\r\n" + body + b"\r\n" for length in lengths)
        body += draw(st.sampled_from(_TRAILERS))
    lines = [draw(st.sampled_from(_STATUS)), *draw(st.lists(st.sampled_from(_HEADERS), max_size=4))]
    end = draw(st.sampled_from(["\r\n", "\r\n", "\n", "\r"]))
    whole = (end.join(lines) + end * 2).encode("utf-8", "replace") + body
    return draw(damaged(whole, 2)) if draw(st.integers(0, 3)) == 0 else whole


def _chunked(length: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + length + b"\r\n" + BODY


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_answers())
@example(_chunked(b"-5")).via("ValueError: read length must be non-negative or -1")
@example(_chunked(b"-1")).via("read to the end of the connection")
def test_an_answer_is_a_body_or_a_reason(raw: Raw, answer: bytes) -> None:
    raw.answer = answer
    session, sink = web.session(Loopback(raw.port), AGENT), io.BytesIO()
    try:
        found = get(session, "http://a.example/x", LIMITS, sink)
    except Failed as failure:
        assert "\n" not in failure.reason and len(failure.reason) < 60
        assert (failure.retry_after or 0) < 1e6
    else:
        assert isinstance(found, Answer) and found.size == len(sink.getvalue())
    assert len(sink.getvalue()) <= LIMITS.bytes


def test_a_chunk_of_minus_one_bytes_is_not_all_that_ever_comes(raw: Raw) -> None:
    raw.answer, raw.more, raw.sent = _chunked(b"-1"), bytes(2**16), 0
    try:
        with pytest.raises(Failed, match="cut off"):
            get(web.session(Loopback(raw.port), AGENT), "http://a.example/", LIMITS, io.BytesIO())
    finally:
        raw.more = b""
    assert raw.sent < 2**25  # what the system's own buffers take


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    _answers()
    | st.lists(
        st.sampled_from(
            [
                *(
                    "User-agent: *",
                    "User-agent: lockstep",
                    "user-AGENT:x",
                    "Disallow: /",
                    "Allow: /x",
                ),
                *(
                    "Disallow: /*%",
                    "Disallow: \xff*$",
                    "Allow: *" * 50,
                    "Crawl-delay: 5",
                    "\ufeff",
                    "\0",
                ),
                *(
                    f"Crawl-delay: {'9' * 400}",
                    "Crawl-delay: ٣",
                    "Disallow: %zz%",
                    "#",
                    ":",
                    "Allow: $",
                ),
            ]
        ),
        max_size=8,
    ).map(lambda lines: b"HTTP/1.0 200 OK\r\n\r\n" + "\r\n".join(lines).encode())
)
def test_robots_txt_allows_or_not(raw: Raw, answer: bytes) -> None:
    raw.answer = answer
    found = RobotsTxt(web.session(Loopback(raw.port), AGENT), LIMITS.seconds)
    try:
        for path in ("", "/x", "/%ff?a=b", "/x y", "/é"):
            assert found.allow(f"http://a.example{path}") in (True, False)
        assert 0 <= found.delay("http://a.example") <= 300
    except Failed as failure:
        assert failure.transient


def test_the_rules_of_others_take_no_room() -> None:
    """Half a megabyte: each of 20,000 names has the same 30,000 rules."""
    names = "".join(
        f"User-agent: {''.join(name)}\n" for name in itertools.product("abcdefgh", repeat=5)
    )
    text = names + "User-agent: *\n" * 5000 + "Disallow: /x\n" * 20_000
    found = robots.parse(text, "lockstep")
    assert len(found.rules) == 20_000 and not found.allow("/x") and found.allow("/y")
    mine = robots.parse(text + "User-agent: lockstep\nAllow: /\n", "lockstep")
    assert mine.rules == ((True, "/"),)


@settings(max_examples=200)
@given(
    st.lists(
        st.lists(st.sampled_from(["noai", "lockstep:", "x:", ":", ",", " ", "*", "none"])).map(
            "".join
        )
        | st.text(max_size=20)
    )
)
def test_any_header_opts_out_or_not(headers: list[str]) -> None:
    assert opt_out(headers, "lockstep") in {None, *OPT_OUTS}


# --- where it may lead

_INNER = (
    *("http://127.0.0.2/", "http://127.2.2.2:{port}/", "http://2130706434/", "http://0x7f000002/"),
    *("http://0177.0.0.2/", "http://127.2/", "http://[::1]/", "http://[::ffff:127.0.0.2]:{port}/"),
    *(
        "http://[::ffff:7f00:2]/",
        "http://[64:ff9b::7f00:2]/",
        "http://[2002:7f00:2::]/",
        "//10.0.0.1/",
    ),
    *("http://169.254.169.254/x", "http://0.0.0.0:{port}/", "http://0/", "http://[::]:{port}/"),
    *("http://192.168.1.1/", "http://100.64.0.1/", "http://[fe80::1]/", "http://[fe80::1%25lo]/"),
    *("http://[fd00::1]/", "http://[fec0::1]/", "http://１２７.0.0.2/", "http://127.0.0.2./"),
    *("http://127。0。0。2/", "http:///127.0.0.2/", "http:\\\\127.0.0.2\\", "http://x@127.0.0.2/"),
    *(
        "\thttp://127.0.0.2/",
        "//127.0.0.2",
        "http://%31%32%37.0.0.2/",
        "http://127.0.0.2:{port}#@x",
    ),
    *(
        "ftp://127.0.0.2/",
        "file:///etc/hostname",
        "gopher://127.0.0.2:{port}/",
        "http://[127.0.0.2]/",
    ),
    *("https://127.0.0.2:{port}/", "HTTP://127.0.0.2/", "http://127.0.0.2\\@a.example/", "data:,x"),
)


@pytest.mark.parametrize("inner", _INNER)
def test_no_redirect_leads_to_a_private_address(
    inner: str, raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But to the server of this test, which asks for it."""
    reached: list[str] = []
    connect = web.create_connection

    def connecting(address: tuple[str, int], *more: object, **others: object) -> socket.socket:
        reached.append(address[0])
        return connect(address, *more, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(web, "create_connection", connecting)
    target = inner.format(port=raw.port).encode()
    raw.answer = b"HTTP/1.1 302 x\r\nConnection: close\r\nLocation: " + target + b"\r\n\r\n"
    raw.asked.clear()
    session = web.session(web.Adapter(public_only=True), AGENT)
    hosts = Hosts(RetryPolicy(1, 0.0))
    fetcher = Fetcher(session, tmp_path, LIMITS, hosts, respect_opt_outs=False)
    with pytest.raises(Failed):
        fetcher.fetch(f"http://127.0.0.1:{raw.port}/")
    assert set(reached) == {"127.0.0.1"} and contents(tmp_path) == {}


# --- files that are fetched once for all projects


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_answers().filter(lambda answer: b" 429" not in answer and b" 503" not in answer))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc").via("ValueError: invalid literal")
@example(_chunked(b"-5"))
@example(b"HTTP/1.1 302 x\r\nLocation: http://[\r\n\r\n")
def test_a_fetched_file_is_the_right_one_or_one_line_says_why(
    raw: Raw, tmp_path_factory: pytest.TempPathFactory, answer: bytes
) -> None:
    raw.answer = answer
    folder = tmp_path_factory.mktemp("cache")
    known = download.Known("x.pt", f"http://127.0.0.1:{raw.port}/x.pt", "0" * 64)
    with pytest.raises(LockstepError) as caught:
        download.fetch(known, folder / "x.pt")
    assert known.url in one_line(caught.value)
    assert {file.name for file in folder.iterdir()} <= {"x.pt.part", "x.pt.lock"}
