"""All the images that a crawl named: fetched, checked, written down.

Each outcome goes into a journal as soon as it is there. Killed and run again, the same call goes
on: an address is asked for again only if its outcome was not written yet, which is true of no more
than `workers` of them. When the call ended, it forgets the failures that may be none the next time;
the lasting ones hold for one version of the code that asks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import PIL
import requests

from lockstep.core.code import digest_of_code
from lockstep.core.errors import LockstepError
from lockstep.sources.download.by_host import by_host
from lockstep.sources.download.decode import Kind, NoImage, check
from lockstep.sources.download.fetch import PART, fetch
from lockstep.sources.listing import read_list, write_lines
from lockstep.sources.names import MANIFEST
from lockstep.sources.resume_cache import ResumeCache
from lockstep.sources.web.get import Failed, Limits
from lockstep.sources.web.retries import RateLimiter, RetryPolicy

FAILED = "failed.txt"
IMAGES = "images"

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Settings:
    """How to download; see `lockstep.config.params.Download`."""

    workers: int
    per_host: int
    max_pixels: int
    max_failed_fraction: float
    limits: Limits
    policy: RetryPolicy


@dataclass(frozen=True)
class Outcome:
    """Of one address: the bytes it gave, or why it gave none to the fetcher's `code`."""

    sha256: str | None = None
    size: int | None = None
    failed: str | None = None
    transient: bool = False
    code: str | None = None


def download(
    images: Path,
    out: Path,
    scratch: Path,
    journal: ResumeCache,
    session: requests.Session,
    settings: Settings,
    progress: Progress,
) -> None:
    """Bring the images listed in `images` into the folder `out`.

    `out` gets `images/<sha256>.<ending>`, `manifest.jsonl` with a line for each address that
    gave an image (address, file, sha256, size in bytes, width, height, named_by) and `failed.txt`
    with the others: address, tab, reason; both in the order of `images`.

    Raises
    ------
    LockstepError
        If nothing is listed, or more than `max_failed_fraction` failed.
    """
    files = scratch / "files"
    files.mkdir(parents=True, exist_ok=True)
    for left in files.glob(f"{PART}*"):
        left.unlink()
    judge = _Judge(journal, files, settings.max_pixels)
    limiter = RateLimiter(settings.policy)
    code = digest_of_code("lockstep.sources.download.fetch")

    def work(address: str) -> tuple[Outcome, str | None]:
        try:
            fetched = fetch(session, address, files, settings.limits, settings.policy, limiter)
        except Failed as failure:
            return Outcome(failed=failure.reason, transient=failure.transient, code=code), None
        return Outcome(fetched.sha256, fetched.size), judge.look(fetched.sha256)

    def missing() -> Iterator[str]:
        for entry in read_list(images):
            outcome = _outcome(journal, entry["address"])
            if outcome is None or (
                not (files / outcome.sha256).exists() if outcome.sha256 else outcome.code != code
            ):
                yield entry["address"]

    done = by_host(missing(), _host, work, workers=settings.workers, per_host=settings.per_host)
    for address, (outcome, verdict) in progress(done, sum(1 for _ in missing())):
        if outcome.sha256 is not None and verdict is not None:
            judge.remember(outcome.sha256, verdict)
        journal.put(address, json.dumps(asdict(outcome)))
    _write(images, out, scratch, journal, judge, settings.max_failed_fraction)


class _Judge:
    """Verdicts on files, kept in the journal: they hold for one version of the code."""

    def __init__(self, journal: ResumeCache, files: Path, max_pixels: int) -> None:
        code = digest_of_code("lockstep.sources.download.decode")
        self._prefix = f"verdict {code} {PIL.__version__} {max_pixels} "
        self._journal = journal
        self._files = files
        self._max_pixels = max_pixels
        self._one_at_a_time = Lock()  # An image unpacked may be a thousand times its file.

    def look(self, sha256: str) -> str:
        """The verdict as text, from the file itself."""
        with self._one_at_a_time:
            try:
                return json.dumps(asdict(check(self._files / sha256, self._max_pixels)))
            except NoImage as reason:
                return json.dumps({"failed": str(reason)})

    def remember(self, sha256: str, verdict: str) -> None:
        self._journal.put(self._prefix + sha256, verdict)

    def __call__(self, sha256: str) -> Kind | str:
        """What the file is, or the reason why it is no image."""
        verdict = self._journal.get(self._prefix + sha256)
        if verdict is None:
            verdict = self.look(sha256)
            self.remember(sha256, verdict)
        found = json.loads(verdict)
        return str(found["failed"]) if "failed" in found else Kind(**found)


def _write(
    images: Path,
    out: Path,
    scratch: Path,
    journal: ResumeCache,
    judge: _Judge,
    max_failed_fraction: float,
) -> None:
    (out / IMAGES).mkdir()
    reasons: Counter[str] = Counter()
    transient = scratch / "transient.txt"
    with (out / FAILED).open("w", encoding="utf-8") as failed, transient.open("w") as again:

        def lines() -> Iterator[dict[str, Any]]:
            for entry in read_list(images):
                address = entry["address"]
                outcome = _outcome(journal, address) or Outcome()
                kind = judge(outcome.sha256) if outcome.sha256 else str(outcome.failed)
                if isinstance(kind, str):
                    failed.write(f"{address}\t{kind}\n")
                    reasons[kind] += 1
                    if outcome.transient:
                        again.write(f"{address}\n")
                    continue
                name = f"{IMAGES}/{outcome.sha256}.{kind.ending}"
                _link(scratch / "files" / str(outcome.sha256), out / name)
                yield {
                    "address": address,
                    "file": name,
                    "sha256": outcome.sha256,
                    "size": outcome.size,
                    "width": kind.width,
                    "height": kind.height,
                    "named_by": entry["named_by"],
                }

        good = write_lines(out / MANIFEST, lines())
    for address in transient.read_text().splitlines():
        journal.remove(address)
    bad = reasons.total()
    if good + bad == 0:
        raise LockstepError(f"{images}: names no image; choose other dates in crawl.start, .end")
    if bad > max_failed_fraction * (good + bad):
        shutil.copyfile(out / FAILED, scratch / FAILED)
        most = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        raise LockstepError(
            f"download.max_failed_fraction: {bad} of {good + bad} images failed, above "
            f"{max_failed_fraction}: {most}; see {scratch / FAILED}, then run again or raise it"
        )


def _outcome(journal: ResumeCache, address: str) -> Outcome | None:
    text = journal.get(address)
    return None if text is None else Outcome(**json.loads(text))


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where a file cannot have two."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
