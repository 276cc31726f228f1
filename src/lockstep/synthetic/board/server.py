"""The replica as a real HTTP server on loopback, which misbehaves on request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from lockstep.synthetic.board.site import Answer


@dataclass(frozen=True)
class Trouble:
    """How an answer goes wrong."""

    status: int | None = None  # sent instead of the answer's own, without its body
    headers: dict[str, str] = field(default_factory=dict)  # added, such as `Location`
    wait: float = 0.0  # seconds before the answer
    drip: float = 0.0  # seconds between two bytes of the body
    keep: float = 1.0  # share of the body until the connection closes; Content-Length says all


class Request(NamedTuple):
    """What was requested, and the status sent."""

    host: str
    target: str
    status: int


class Served(NamedTuple):
    """A running server."""

    port: int
    log: list[Request]


Answers = Callable[[str, str, dict[str, str]], Answer]
Troubles = Callable[[str, str, int], Trouble | None]


def no_trouble(host: str, target: str, number: int) -> Trouble | None:
    """All goes well."""
    return None


@contextmanager
def serve(answers: Answers, trouble: Troubles = no_trouble) -> Iterator[Served]:
    """Serve on a free port of 127.0.0.1 for as long as the block runs.

    Parameters
    ----------
    answers
        (host, target, cookies) -> answer; called from several threads. `Site.answer` is one.
    trouble
        (host, target, number) -> what goes wrong with the request, the `number`th for the same
        from 1.
    """
    server = _Server(answers, trouble)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Served(server.server_address[1], server.log)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answers: Answers, trouble: Troubles) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.trouble = answers, trouble
        self.lock = threading.Lock()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.log: list[Request] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server, host = self.server, self.headers.get("Host", "")
        with server.lock:
            server.requests[host, self.path] += 1
            number = server.requests[host, self.path]
        wrong = server.trouble(host, self.path, number) or Trouble()
        if wrong.status is not None:
            answer = Answer(wrong.status)
        else:
            jar = SimpleCookie(self.headers.get("Cookie", ""))
            cookies = {name: morsel.value for name, morsel in jar.items()}
            answer = server.answers(host, self.path, cookies)
        with server.lock:
            server.log.append(Request(host, self.path, answer.status))
        time.sleep(wrong.wait)
        with suppress(ConnectionError):
            self._send(answer, wrong)

    def _send(self, answer: Answer, wrong: Trouble) -> None:
        self.send_response(answer.status)
        for name, value in {**answer.headers, **wrong.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        body = answer.body[: round(len(answer.body) * wrong.keep)]
        step = 1 if wrong.drip else max(len(body), 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(wrong.drip)
        self.close_connection = wrong.keep < 1

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""
