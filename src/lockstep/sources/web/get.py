"""One request, its answer within limits of size and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urljoin

import requests
import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.util.retry import Retry

from lockstep.sources.web.deadline import deadline

_INVALID = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
    UnicodeError,
)
_CHUNK = 64 * 1024
_CONNECT_SECONDS = 10.0


class Failed(Exception):
    """A request that gave nothing; `transient` if another try may succeed.

    `reason` is a few words, the same every time, for `failed.txt`. `retry_after` is how many
    seconds the server asks to wait.
    """

    def __init__(self, reason: str, *, transient: bool, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """The most that one answer may take: seconds from the request to the end, and bytes."""

    seconds: float
    bytes: int


@dataclass(frozen=True)
class Answer:
    """What a server said; `location` is where it sends us, as a whole address."""

    status: int
    location: str | None
    size: int


def get(
    session: requests.Session,
    address: str,
    limits: Limits,
    sink: BinaryIO,
    accept: Callable[[HTTPHeaderDict], object] = lambda headers: None,
) -> Answer:
    """Ask for `address` once, following no redirect; the body of a 200 goes to `sink`.

    `accept` is given the headers of a 200 before its body is read, and may raise `Failed`. Raises
    `Failed` for no answer, a cut, slow or too large one, or a status that asks to come again.
    """
    with deadline(limits.seconds) as passed:
        try:
            answer = _get(session, address, limits, sink, accept)
        except requests.exceptions.InvalidSchema:
            raise Failed("neither http nor https", transient=False) from None
        except _INVALID:
            raise Failed("not a valid address", transient=False) from None
        except requests.exceptions.ContentDecodingError:
            raise Failed("wrongly compressed", transient=False) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            if passed():
                raise Failed("too slow", transient=True) from None
            cut = isinstance(error, requests.exceptions.ChunkedEncodingError)
            raise Failed("cut off" if cut else "no connection", transient=True) from None
        if passed():  # To a reader the shut connection can look like the end.
            raise Failed("too slow", transient=True)
    return answer


def _get(
    session: requests.Session,
    address: str,
    limits: Limits,
    sink: BinaryIO,
    accept: Callable[[HTTPHeaderDict], object],
) -> Answer:
    # The deadline comes before the socket's own timeout: one reason for one cause.
    timeout = (min(_CONNECT_SECONDS, limits.seconds), limits.seconds + 5)
    with session.get(address, stream=True, allow_redirects=False, timeout=timeout) as response:
        status = response.status_code
        if status in (408, 429) or status >= 500:  # the server's trouble, which may pass
            after = _seconds(response.headers.get("Retry-After"))
            raise Failed(f"HTTP {status}", transient=True, retry_after=after)
        if status == 200:
            accept(response.raw.headers)
        size = 0
        for chunk in response.iter_content(_CHUNK) if status == 200 else ():
            size += len(chunk)
            if size > limits.bytes:
                raise Failed(f"larger than {limits.bytes} bytes", transient=False)
            sink.write(chunk)
        target = session.get_redirect_target(response)
        try:
            return Answer(status, target and urljoin(address, target), size)
        except ValueError:
            raise Failed("not a valid address", transient=False) from None


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After header, which has seconds or a date; None for nonsense."""
    if retry_after is None:
        return None
    try:
        return Retry().parse_retry_after(retry_after)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):  # a year 99999 too
        return None
