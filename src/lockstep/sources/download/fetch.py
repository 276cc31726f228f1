"""One address fetched into a file named by its content."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from urllib3 import HTTPHeaderDict

from lockstep.core import hashing
from lockstep.sources.web.breaker import Hosts, host_of
from lockstep.sources.web.get import Answer, Failed, Limits, get
from lockstep.sources.web.opt_outs import opt_out
from lockstep.sources.web.robots import RobotsTxt, product_of

PART = ".part-"
"""How the names of unfinished files begin."""

_REDIRECTS = 5


class Fetcher:
    """Fetches addresses into `folder`, one try a call; for several threads.

    `limits` are those of one try, all its redirects together. With `respect_opt_outs` nothing is
    asked for that robots.txt forbids, and nothing kept whose server says `opt_outs.OPT_OUTS`.
    """

    def __init__(
        self,
        session: requests.Session,
        folder: Path,
        limits: Limits,
        hosts: Hosts,
        *,
        respect_opt_outs: bool,
    ) -> None:
        self._session = session
        self._folder = folder
        self._limits = limits
        self._hosts = hosts
        self._product = product_of(str(session.headers["User-Agent"]))
        self._robots = RobotsTxt(session, limits.seconds) if respect_opt_outs else None

    def fetch(self, address: str) -> tuple[str, int]:
        """Try to fetch `address`, following redirects; gives the file's SHA-256 and size.

        The SHA-256 is its name. The host of `address` must have been admitted; those that it leads
        to are asked here. Raises `Failed`.
        """
        descriptor, name = tempfile.mkstemp(prefix=PART, dir=self._folder)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                answer = self._follow(address, file)
                if answer.status != 200:
                    raise Failed(f"HTTP {answer.status}", transient=False)
                if answer.size == 0:
                    raise Failed("empty", transient=False)
            sha256 = hashing.sha256(part)
            part.chmod(0o644)  # mkstemp's are private
            part.replace(self._folder / sha256)
            return sha256, answer.size
        finally:
            part.unlink(missing_ok=True)

    def _follow(self, address: str, file: BinaryIO) -> Answer:
        first, left = host_of(address), self._limits.seconds
        for _ in range(_REDIRECTS + 1):
            host = host_of(address)
            with nullcontext() if host == first else self._hosts.request(host):
                if self._robots is not None and not self._robots.allow(address):
                    raise Failed("robots.txt forbids", transient=False)
                began = time.monotonic()
                limits = replace(self._limits, seconds=max(left, 0.001))
                answer = get(self._session, address, limits, file, self._accept)
                left -= time.monotonic() - began
            if answer.location is None:
                return answer
            address = answer.location
            if urlsplit(address).path.endswith("/removed.png"):
                raise Failed("removed", transient=False)
        raise Failed("too many redirects", transient=False)

    def _accept(self, headers: HTTPHeaderDict) -> None:
        if self._robots is not None:
            said = opt_out(headers.getlist("X-Robots-Tag"), self._product)
            if said is not None:
                raise Failed(f"opted out: {said}", transient=False)
