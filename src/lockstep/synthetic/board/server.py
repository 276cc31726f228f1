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

Answers = Callable[[str, str, dict[str, str]], Answer]


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


def no_trouble(host: str, target: str, number: int) -> Trouble | None:
    """All goes well."""
    return None


@contextmanager
def serve(
    answers: Answers, trouble: Callable[[str, str, int], Trouble | None] = no_trouble
) -> Iterator[Served]:
    """Serve on a free port of 127.0.0.1 for as long as the block runs.

    Parameters
    ----------
    answers
        (host, target, cookies) -> answer; called from several threads. `Site.answer` is one.
    trouble
        (host, target, number) -> what goes wrong with the request, the `number`th for the same
        from 1.
    """
    log: list[Request] = []
    server = _Server(("127.0.0.1", 0), _handler(answers, trouble, log))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Served(server.server_address[1], log)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _handler(
    answers: Answers, trouble: Callable[[str, str, int], Trouble | None], log: list[Request]
) -> type[BaseHTTPRequestHandler]:
    requests: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            host = self.headers.get("Host", "")
            with lock:
                requests[host, self.path] += 1
                number = requests[host, self.path]
            wrong = trouble(host, self.path, number) or Trouble()
            if wrong.status is not None:
                answer = Answer(wrong.status)
            else:
                jar = SimpleCookie(self.headers.get("Cookie", ""))
                cookies = {name: morsel.value for name, morsel in jar.items()}
                answer = answers(host, self.path, cookies)
            with lock:
                log.append(Request(host, self.path, answer.status))
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
            if wrong.drip:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(wrong.drip)
            else:
                self.wfile.write(body)
            self.close_connection = wrong.keep < 1

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on stderr."""

    return Handler
