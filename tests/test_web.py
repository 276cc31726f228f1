"""Requests: limits, retries, and only public addresses."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from collecting import AGENT
from lockstep.config.load import load_params
from lockstep.sources.web import session as web
from lockstep.sources.web.get import Answer, Failed, Limits, get
from lockstep.sources.web.retries import RetryPolicy, retry
from lockstep.sources.web.session import Loopback, is_public
from lockstep.synthetic.board.server import Served, Trouble, serve
from lockstep.synthetic.board.site import Answer as Page

COMMITTED = Path(__file__).resolve().parent.parent / "params.yaml"
LIMITS = Limits(seconds=5.0, bytes=10_000)
BODY = bytes(range(256)) * 8


def serving(trouble: Trouble | None = None) -> AbstractContextManager[Served]:
    return serve(lambda host, target, cookies: Page(200, BODY), lambda *request: trouble)


def ask(port: int, address: str = "https://host.example/x", limits: Limits = LIMITS) -> bytes:
    sink = io.BytesIO()
    assert get(web.session(Loopback(port), AGENT), address, limits, sink) == Answer(
        200, None, len(BODY)
    )
    return sink.getvalue()


def test_names_stay_and_everything_ends_on_loopback() -> None:
    with serving() as served:
        assert ask(served.port, "https://host.example/x?y=1") == BODY
        assert ask(served.port, "http://other.example:8080/") == BODY
    assert [(r.host, r.target) for r in served.log] == [
        ("host.example", "/x?y=1"),
        ("other.example:8080", "/"),
    ]


def test_it_says_honestly_who_asks_and_heeds_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    params = load_params("faces", COMMITTED)
    for agent in (params.crawl.user_agent, params.download.user_agent):
        assert agent.startswith("lockstep (")
        assert web.session(Loopback(1), agent).headers["User-Agent"] == agent
    with serving() as served:
        assert ask(served.port) == BODY


@pytest.mark.parametrize(
    ("trouble", "reason", "transient"),
    [
        (Trouble(status=429), "HTTP 429", True),
        (Trouble(status=500), "HTTP 500", True),
        (Trouble(status=503), "HTTP 503", True),
        (Trouble(keep=0.5), "cut off", True),
        (Trouble(wait=1.6), "too slow", True),
        (Trouble(drip=0.02), "too slow", True),
    ],
)
def test_each_trouble_has_its_reason(trouble: Trouble, reason: str, transient: bool) -> None:
    limits = Limits(1.0, 10_000)
    with serving(trouble) as served:
        began = time.monotonic()
        with pytest.raises(Failed) as caught:
            ask(served.port, limits=limits)
        assert (caught.value.reason, caught.value.transient) == (reason, transient)
        assert time.monotonic() - began < 5


def test_an_answer_without_a_length_cannot_hide_that_time_was_up() -> None:
    """Its end is the end of the connection, which is what the deadline brings about."""
    endless = listening(b"HTTP/1.1 200 OK\r\n\r\n", drip=b"x" * 100)
    with endless as port, pytest.raises(Failed, match="too slow"):
        get(
            web.session(Loopback(port), AGENT), "http://a.example/", Limits(0.3, 1000), io.BytesIO()
        )


def test_headers_that_never_end_do_not_hold_us() -> None:
    with listening(b"HTTP/1.1 200 OK\r\n", drip=b"X: y" * 100) as port:
        began = time.monotonic()
        with pytest.raises(Failed, match="too slow"):
            get(
                web.session(Loopback(port), AGENT),
                "http://a.example/",
                Limits(0.3, 1000),
                io.BytesIO(),
            )
        assert time.monotonic() - began < 5


def test_too_much_is_not_read_to_its_end() -> None:
    with serving() as served, pytest.raises(Failed) as caught:
        ask(served.port, limits=Limits(5.0, 1000))
    assert (caught.value.reason, caught.value.transient) == ("larger than 1000 bytes", False)


def test_what_is_packed_counts_as_it_unpacks() -> None:
    packed = Page(200, gzip.compress(bytes(10**7)), {"Content-Encoding": "gzip"})
    with (
        serve(lambda host, target, cookies: packed) as served,
        pytest.raises(Failed, match="larger than 10000 bytes"),
    ):
        ask(served.port)


def test_the_body_of_a_redirect_is_not_read() -> None:
    moved = Page(302, BODY, {"Location": "/y"})
    with serve(lambda *request: moved, lambda *request: Trouble(drip=0.02)) as served:
        session, sink = web.session(Loopback(served.port), AGENT), io.BytesIO()
        answer = get(session, "http://a.example/x", Limits(2.0, 10), sink)
    assert answer == Answer(302, "http://a.example/y", 0)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://a.example/x", "neither http nor https"),
        ("file:///etc/hostname", "neither http nor https"),
        ("https://", "not a valid address"),
        ("x", "not a valid address"),
        (f"http://{'a' * 70}.example/", "no"),
    ],
)
def test_addresses_that_cannot_be_asked(address: str, reason: str) -> None:
    with pytest.raises(Failed, match=reason):
        get(web.session(web.Adapter(public_only=True), AGENT), address, LIMITS, io.BytesIO())


# --- tries


def test_pauses_double_and_are_as_long_as_asked() -> None:
    pauses: list[float] = []
    failures = iter(
        [
            Failed("a", transient=True),
            Failed("b", transient=True, retry_after=7.0),
            Failed("c", transient=True, retry_after=0.0),
        ]
    )

    def action() -> str:
        for failure in failures:
            raise failure
        return "done"

    assert retry(action, RetryPolicy(4, 1.0), pauses.append) == "done"
    assert pauses == [1.0, 7.0, 4.0]


@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        (Failed("again", transient=True), 3),
        (Failed("never", transient=False), 1),
        (Failed("tomorrow", transient=True, retry_after=86_400.0), 1),
    ],
)
def test_giving_up(failure: Failed, tries: int) -> None:
    tried = []

    def action() -> None:
        tried.append(1)
        raise failure

    with pytest.raises(Failed):
        retry(action, RetryPolicy(3, 0.0), lambda seconds: None)
    assert len(tried) == tries


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    busy = serving(Trouble(status=429, headers={"Retry-After": header}))
    with busy as served, pytest.raises(Failed) as caught:
        ask(served.port)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("location", ["http://[::1/x.jpg", "//[x]/y"])
def test_a_redirect_to_no_address_has_a_reason(location: str) -> None:
    moved = serving(Trouble(status=302, headers={"Location": location}))
    with moved as served, pytest.raises(Failed) as caught:
        ask(served.port)
    assert (caught.value.reason, caught.value.transient) == ("not a valid address", False)


# --- private addresses

PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fec0::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "151.101.64.193", "2606:4700::1111", "64:ff9b::101:101"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_in_another_is_judged_alike(address: object) -> None:
    assert is_public(str(address)) == is_public(f"::ffff:{address}")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "0", "127.1"]
)
def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    with serving() as served, pytest.raises(Failed) as caught:
        guarded_get(f"http://{host}:{served.port}/")
    assert caught.value.reason in ("not a public address", "not a valid address")
    assert not caught.value.transient and served.log == []


def test_a_name_with_one_private_address_is_refused(resolving: Callable[..., list[str]]) -> None:
    resolving(["93.184.215.14", "10.0.0.1"])
    with pytest.raises(Failed, match="not a public address"):
        guarded_get("https://mixed.example/")


def test_a_name_is_resolved_once_so_that_it_cannot_change(
    resolving: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolving(["93.184.215.14"], ["127.0.0.1"])
    connected = []

    def connect(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
        connected.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr(web, "create_connection", connect)
    with pytest.raises(Failed, match="no connection"):
        guarded_get("http://rebinding.example/")
    assert asked == ["rebinding.example"] and connected == [("93.184.215.14", 80)]


def guarded_get(address: str) -> None:
    get(web.session(web.Adapter(public_only=True), AGENT), address, LIMITS, io.BytesIO())


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes look-ups of names give these addresses, one list a look-up; gives the names asked."""

    def set_up(*answers: list[str]) -> list[str]:
        asked: list[str] = []
        remaining = iter(answers)

        def look_up(host: str, port: int, **kwargs: object) -> list[tuple]:
            asked.append(host)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in next(remaining)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return set_up


@contextmanager
def listening(start: bytes, drip: bytes) -> Iterator[int]:
    """A server that answers one request with `start` at once and a byte of `drip` now and then."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(4096)
                connection.sendall(start)
                for byte in drip:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_sessions_have_no_other_way_out() -> None:
    made = web.session(Loopback(1), AGENT)
    assert sorted(made.adapters) == ["http://", "https://"]
    with pytest.raises(requests.exceptions.InvalidSchema):
        made.get("ftp://a.example/")
