"""A polite reader of one board's pages."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import requests

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.page import PageFailed, age_gate
from lockstep.sources.web.get import Answer, Failed, Limits, get
from lockstep.sources.web.retries import RetryPolicy, retry
from lockstep.sources.web.robots import RobotsTxt

T = TypeVar("T")

_LIMITS = Limits(seconds=120.0, bytes=64_000_000)


class Client:
    """Asks one server for pages, one after another, as its robots.txt allows.

    `source` is `https://www.ptt.cc`, without a path. Between the end of an answer and the next
    request, tries again included, lie `delay` seconds, or a longer `Crawl-delay` of robots.txt.
    """

    def __init__(
        self,
        session: requests.Session,
        source: str,
        *,
        delay: float,
        policy: RetryPolicy,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.source = source.rstrip("/")
        self._session = session
        self._session.cookies.set("over18", "1", domain=urlsplit(source).hostname or "")
        self._delay = delay
        self._policy = policy
        self._sleep = sleep
        self._last: float | None = None
        self._robots: RobotsTxt | None = None

    def page(self, path: str) -> str | None:
        """The HTML at `path`; None if there is none (404, 410).

        Raises `PageFailed` if the server gives nothing after all tries, refuses, or sends
        elsewhere, and another `LockstepError` where other pages would fare no better: robots.txt
        forbids it, the age gate stands before it, or the server wants to be left alone.
        """
        self._check_robots(path)
        answer, html = self._patiently(path, lambda: self._get(path))
        if answer.status == 200:
            return html
        if answer.status in (404, 410):
            return None
        if answer.location is None:
            raise PageFailed(
                f"{self.source}{path}: HTTP {answer.status}; look at it in a browser",
                f"HTTP {answer.status}",
            )
        if "/ask/over18" in answer.location:
            raise age_gate(self.source + path)
        raise PageFailed(
            f"{self.source}{path}: the server sends to {answer.location}; if the board has "
            "moved there, say so in crawl.source",
            f"sent to {answer.location}",
        )

    def _check_robots(self, path: str) -> None:
        address = self.source + path
        if self._robots is None:
            robots = RobotsTxt(self._session, _LIMITS.seconds)
            delay = self._patiently("/robots.txt", lambda: robots.delay(address))
            self._delay = max(self._delay, delay)
            self._robots = robots
        if not self._robots.allow(address):
            raise LockstepError(
                f"{self.source}{path}: robots.txt asks programs to keep out; choose another "
                "crawl.source or crawl.board"
            )

    def _patiently(self, path: str, ask: Callable[[], T]) -> T:
        try:
            return retry(lambda: self._after_a_pause(ask), self._policy, self._sleep)
        except Failed as failure:
            if (failure.retry_after or 0) > self._policy.longest:
                raise LockstepError(
                    f"{self.source}{path}: {failure.reason}; run again in "
                    f"{failure.retry_after:.0f} seconds, as it asks"
                ) from None
            raise PageFailed(
                f"{self.source}{path}: {self._explained(failure)}", failure.reason
            ) from None

    def _explained(self, failure: Failed) -> str:
        if not failure.transient:
            return (
                f"{failure.reason}; see in a browser whether crawl.source: {self.source} is right"
            )
        return (
            f"{failure.reason}, {self._policy.tries} tries; run again later: what is there "
            "already is not asked for again"
        )

    def _after_a_pause(self, ask: Callable[[], T]) -> T:
        if self._last is not None:
            pause = self._last + self._delay - time.monotonic()
            if pause > 0:
                self._sleep(pause)
        try:
            return ask()
        finally:
            self._last = time.monotonic()

    def _get(self, path: str) -> tuple[Answer, str]:
        sink = io.BytesIO()
        answer = get(self._session, self.source + path, _LIMITS, sink)
        return answer, sink.getvalue().decode("utf-8", "replace")
