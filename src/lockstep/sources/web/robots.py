"""robots.txt as RFC 9309 has it, with wildcards and the longest rule first; and Crawl-delay.

The standard library's parser takes the first rule, and a `*` for itself.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import requests
from requests.utils import requote_uri

from lockstep.sources.web.get import Failed, Limits, get

_PATH = "/robots.txt"
_REDIRECTS = 5  # section 2.3.1.2
_BYTES = 512_000  # section 2.5: no less than 500 KiB must be read
_LONGEST_DELAY = 300.0  # seconds; what wants more does not mean it
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_PRODUCT = re.compile(r"[A-Za-z_-]*")
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")


def product_of(user_agent: str) -> str:
    """The name that rules go by: the letters at the beginning, `lockstep` of `lockstep/2 (x)`."""
    found = _PRODUCT.match(user_agent)
    return found[0] if found else ""


@dataclass(frozen=True)
class Rules:
    """What one host allows one program, as (whether allowed, pattern of paths).

    `delay` is how many seconds are to lie between two requests, 300 at most.
    """

    rules: tuple[tuple[bool, str], ...] = ()
    delay: float = 0.0

    def allow(self, path: str) -> bool:
        """Whether the program may ask for `path`, quoted and with its query."""
        if path == _PATH:
            return True
        # The longest pattern decides, and of two of one length the one that allows.
        found = ((len(p), allowed) for allowed, p in self.rules if _matches(p, path))
        return max(found, default=(0, True))[1]


def parse(text: str, product: str) -> Rules:
    """The rules for a program: all groups that name it, or else those for `*`.

    RFC 9309 has no Crawl-delay. Here one holds for the names above it, back to the last rule or
    delay; for rules it ends no list of names, as no other line does. The longest one counts; what
    is no number of seconds does not.
    """
    rules: dict[str, list[tuple[bool, str]]] = {}
    delays: dict[str, float] = {}
    # Of other names nothing is kept: there may be thousands, each with as many rules.
    ours = {"*", product.lower()}
    names: set[str] = set()  # whose rules come next
    waiting: set[str] = set()  # whose delay comes next
    in_rules = after_delay = False
    for key, value in _records(text):
        if key == "user-agent":
            if in_rules:
                names, in_rules = set(), False
            if after_delay or not names:
                waiting, after_delay = set(), False
            name = "*" if value == "*" else product_of(value).lower()
            if name in ours:
                names.add(name)
                waiting.add(name)
                rules.setdefault(name, [])
        elif key in ("allow", "disallow"):
            in_rules = True
            if value:
                for name in names:
                    rules[name].append((key == "allow", _quoted(value)))
        elif key == "crawl-delay":
            after_delay = True
            if _SECONDS.fullmatch(value):
                for name in waiting:
                    delays[name] = max(delays.get(name, 0.0), min(float(value), _LONGEST_DELAY))
    own = product.lower() if product.lower() in rules else "*"
    return Rules(tuple(rules.get(own, ())), delays.get(own, 0.0))


def _records(text: str) -> Iterator[tuple[str, str]]:
    for line in re.split(r"[\r\n]+", text.removeprefix("\ufeff")):
        key, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield key.strip().lower(), value.strip()


def _quoted(address: str) -> str:
    """An address, or a part of one, in the one form in which equal ones are equal.

    Raises `ValueError` for what cannot be quoted.
    """
    return _ESCAPE.sub(lambda escape: escape[0].upper(), requote_uri(address))


def _matches(pattern: str, path: str) -> bool:
    """Whether a path begins as a pattern has it, in which `*` is any text and a last `$` the end.

    Each part is looked for once, from left to right: no pattern makes this slow.
    """
    first, *parts = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at, last = len(first), len(path)
    if pattern.endswith("$"):
        if not parts:
            return at == last
        end = parts.pop()
        last -= len(end)
        if last < at or not path.endswith(end):
            return False
    for part in parts:
        found = path.find(part, at, last)
        if found < 0:
            return False
        at = found + len(part)
    return True


class RobotsTxt:
    """The robots.txt of all hosts, each asked for once; for several threads."""

    def __init__(self, session: requests.Session, seconds: float) -> None:
        self._session = session
        self._product = product_of(str(session.headers["User-Agent"]))
        self._limits = Limits(seconds, _BYTES)
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Future[Rules]] = {}

    def allow(self, address: str) -> bool:
        """Whether the host allows us to ask for `address`.

        A host without a robots.txt (any 4xx but 429) allows everything. Raises a transient `Failed`
        if it cannot be had now (5xx, 429, no connection): nothing is allowed then, and the next
        call asks again.
        """
        try:
            parts = urlsplit(_quoted(address))
        except ValueError:
            return True  # Nobody can ask for it.
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return True
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return self._rules(parts).allow(path)

    def delay(self, address: str) -> float:
        """How many seconds the host of `address` wants between two requests. Raises as `allow`."""
        return self._rules(urlsplit(address)).delay

    def _rules(self, parts: SplitResult) -> Rules:
        key = parts.scheme, parts.netloc.rpartition("@")[2].lower()
        with self._lock:
            found = self._found.get(key)
            ours = found is None
            if found is None:
                found = self._found[key] = Future()
        if ours:
            try:
                text = self._text(f"{key[0]}://{key[1]}{_PATH}")
                found.set_result(parse(text, self._product))
            except BaseException as error:
                with self._lock:
                    del self._found[key]
                found.set_exception(error)  # of those too that wait for it
        return found.result()

    def _text(self, address: str) -> str:
        sink = io.BytesIO()
        try:
            for _ in range(_REDIRECTS + 1):
                answer = get(self._session, address, self._limits, sink)
                if answer.location is None:
                    break
                address = answer.location
        except Failed as failure:
            if failure.transient:
                raise
            # What there is of one that is too long counts; of others there is nothing.
        return sink.getvalue().decode("utf-8", "replace")
