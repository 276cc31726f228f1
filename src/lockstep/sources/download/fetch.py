"""One address fetched into a file named by its content."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import requests

from lockstep.core import hashing
from lockstep.sources.web.get import Failed, Limits, get
from lockstep.sources.web.retries import RateLimiter, retry

PART = ".part-"
"""How the names of unfinished files begin."""

_REDIRECTS = 5


def fetch_file(
    session: requests.Session, address: str, folder: Path, limits: Limits, limiter: RateLimiter
) -> tuple[str, int]:
    """Fetch `address` into `folder`, following redirects; gives the file's SHA-256 and size.

    The SHA-256 is its name. `limits` are those of one try, all its redirects together. Raises
    `Failed` after the last one.
    """
    return retry(lambda: _once(session, address, folder, limits, limiter), limiter.policy)


def _once(
    session: requests.Session, address: str, folder: Path, limits: Limits, limiter: RateLimiter
) -> tuple[str, int]:
    descriptor, name = tempfile.mkstemp(prefix=PART, dir=folder)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for _ in range(_REDIRECTS + 1):
                with limiter.request(urlsplit(address).hostname or ""):
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
        return sha256, answer.size
    finally:
        part.unlink(missing_ok=True)
