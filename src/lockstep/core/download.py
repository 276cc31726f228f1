"""Files that are too large or not ours to be in the project, fetched once for all projects."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from cleanfid.downloads_helper import inception_url
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from lockstep.core.errors import LockstepError, reason
from lockstep.core.files import sync
from lockstep.core.hashing import sha256
from lockstep.core.lock import exclusive

_CHUNK = 2**16  # what is lost at most when a connection breaks
_TRIES = 5
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


@dataclass(frozen=True)
class Known:
    """A file by its name, address and content."""

    name: str
    url: str
    sha256: str


FILES = {
    "inception": Known(
        "inception-2015-12-05.pt",
        inception_url,
        "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    )
}


def cache() -> Path:
    """`LOCKSTEP_CACHE`, or `lockstep` in the user's folder for caches.

    Raises `LockstepError` if the user has no home, as in a container under a number of one's own.
    """
    try:
        if given := os.environ.get("LOCKSTEP_CACHE"):
            return Path(given).expanduser().absolute()
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(base).expanduser() / "lockstep"
    except RuntimeError:
        raise LockstepError(
            "LOCKSTEP_CACHE: not set, and this user has no home; set it to a folder"
        ) from None


def cached(name: str) -> Path:
    """Where a file of `FILES` is once it was fetched."""
    return cache() / FILES[name].name


def fetch(
    known: Known,
    path: Path,
    progress: Callable[[int, int | None], object] = lambda done, total: None,
) -> None:
    """Have the file at `path`: as it is if it is the right one, else fetched.

    What came before the connection broke is kept beside `path` and not fetched again. `path` is
    there whole or not at all. `progress` is told the bytes so far and, if known, of how many.
    Raises `LockstepError` if it cannot be fetched, or is another file than it should be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f"{path.name}.lock"), f"{path.name} is being fetched"):
        if path.exists() and sha256(path) == known.sha256:
            return
        part = path.with_name(f"{path.name}.part")
        begun = part.exists()
        _get(known, part, path, progress)
        if begun and sha256(part) != known.sha256:
            # What was there may have been of another file: once more, from the start.
            part.unlink()
            _get(known, part, path, progress)
        if (found := sha256(part)) != known.sha256:
            part.unlink()
            raise LockstepError(
                f"{known.url}: sent another file (SHA-256 {found[:12]}..., not "
                f"{known.sha256[:12]}...); put the right one at {path}"
            )
        part.replace(path)


def _get(
    known: Known, part: Path, path: Path, progress: Callable[[int, int | None], object]
) -> None:
    refused = (429, 500, 502, 503, 504)
    retries = Retry(connect=0, read=0, status=_TRIES, backoff_factor=0.5, status_forcelist=refused)
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        for _ in range(_TRIES):
            try:
                return _go_on(session, known, part, progress)
            except _BROKEN as error:
                said = reason(error)
            # urllib3 raises its own and ValueErrors for an answer that is none.
            except (requests.RequestException, HTTPError, ValueError) as error:
                said = reason(error)
                break
    raise LockstepError(
        f"{known.url}: {said}; run it again where there is a network, or put the file at {path}"
    )


def _go_on(
    session: requests.Session,
    known: Known,
    part: Path,
    progress: Callable[[int, int | None], object],
) -> None:
    """Fetch what is missing of `part`."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
    with session.get(known.url, headers=headers, stream=True, timeout=(10, 60)) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is here
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            done = 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length is not None and length.isdecimal() else None
        with part.open("ab" if done else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
        sync(part)
    if total is not None and done < total:
        raise requests.ConnectionError(f"{total - done} bytes are missing")
