"""One address fetched into a file named by its content."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import requests

from lockstep.core import hashing
from lockstep.sources.web.failed import Failed
from lockstep.sources.web.get import Limits, get
from lockstep.sources.web.rate_limiter import Rests
from lockstep.sources.web.retries import Patience, persist

PART = ".part-"
"""How the names of unfinished files begin."""

_REDIRECTS = 5


@dataclass(frozen=True)
class Fetched:
    """Bytes that came whole: their hash, which is the file's name, and their number."""

    sha256: str
    size: int


def fetch(
    session: requests.Session,
    address: str,
    folder: Path,
    limits: Limits,
    patience: Patience,
    rests: Rests,
) -> Fetched:
    """Fetch `address` into `folder`, following redirects. Raises `Failed` after the last try.

    `limits` are those of one try, all its redirects together.
    """
    return persist(lambda: _once(session, address, folder, limits, rests), patience)


def _once(
    session: requests.Session, address: str, folder: Path, limits: Limits, rests: Rests
) -> Fetched:
    descriptor, name = tempfile.mkstemp(prefix=PART, dir=folder)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for _ in range(_REDIRECTS + 1):
                with rests.asking(urlsplit(address).hostname or ""):
                    began = time.monotonic()
                    answer = get(session, address, limits, file)
                left = limits.seconds - (time.monotonic() - began)
                limits = replace(limits, seconds=max(left, 0.001))
                if answer.location is None:
                    break
                address = answer.location
                if urlsplit(address).path.endswith("/removed.png"):
                    raise Failed("removed", transient=False)
            else:
                raise Failed("too many redirects", transient=False)
            if answer.status != 200:
                raise Failed(f"HTTP {answer.status}", transient=False)
            if answer.size == 0:
                raise Failed("empty", transient=False)
        sha256 = hashing.sha256(part)
        part.chmod(0o644)  # mkstemp's are private
        part.replace(folder / sha256)
        return Fetched(sha256, answer.size)
    finally:
        part.unlink(missing_ok=True)
