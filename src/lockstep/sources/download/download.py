"""All the images that a crawl named: fetched, checked, written down.

Each outcome goes into a cache as soon as it is there. Killed and run again, the same call goes on:
an address is asked for again only if its outcome was not written yet, which is true of no more
than `workers` of them. When the call ended, it forgets the failures that may be none the next time,
those of hosts that refused among them; the lasting ones hold for one version of the code that asks
and for how it asked.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import requests

from lockstep.config.schema import Download, Params
from lockstep.core import hashing, paths
from lockstep.core.code import digest_of_code
from lockstep.core.decoding import LIBRARIES, NoImage
from lockstep.core.errors import LockstepError
from lockstep.core.processes import progress as progress_bar
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.sources import listing, source
from lockstep.sources.download.by_host import by_host
from lockstep.sources.download.decode import Kind, check
from lockstep.sources.download.fetch import PART, Fetcher
from lockstep.sources.listing import MANIFEST, read_list, write_lines
from lockstep.sources.origin import code_of
from lockstep.sources.resume_cache import ResumeCache, exclusive_cache
from lockstep.sources.web.breaker import HOST_REFUSES, Hosts, host_of
from lockstep.sources.web.get import Failed, Limits
from lockstep.sources.web.retries import RetryPolicy

FAILED = "failed.txt"
IMAGES = "images"
_NAMED = 3

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Outcome:
    """Of one address: the bytes it gave, or why it gave none to the fetcher's `code`.

    `code` is a digest of what asked, and how.
    """

    sha256: str | None = None
    size: int | None = None
    failed: str | None = None
    transient: bool = False
    code: str | None = None
    respected: bool = False  # whether opt-outs were


def fetch(params: Params, crawled: Path, out: Path) -> None:
    """Write the images of the list in `crawled`, and the manifest, into the folder `out`.

    Raises `LockstepError` if too many cannot be had, or the list is damaged.
    """
    settings = params.download
    before = read_provenance(crawled)
    origin = before.inputs["origin"]
    # What was fetched holds for other lists of addresses too.
    work = {**origin, **code_of(origin), "max_bytes": settings.max_bytes}
    scratch = paths.scratch() / "download" / hashing.digest_of(work)
    with (
        exclusive_cache(scratch, "the same download is running") as outcomes,
        source.opened(origin, settings.user_agent, settings.workers) as web,
    ):
        refused = download(
            crawled / listing.IMAGES,
            out,
            scratch,
            outcomes,
            web.session,
            settings,
            web.policy(settings.tries),
            progress_bar("download", "image"),
        )
        decided = {**before.params, **params.deciding("download")}
        write_provenance(out, decided, origin=origin)
    if refused:
        print(
            f"{_named(refused)}: `dvc repro --force --single-item download@{params.workload}`, "
            "later, asks for these again and for nothing that is there",
            file=sys.stderr,
        )


def download(
    images: Path,
    out: Path,
    scratch: Path,
    cache: ResumeCache,
    session: requests.Session,
    settings: Download,
    policy: RetryPolicy,
    progress: Progress,
) -> dict[str, int]:
    """Bring the images listed in `images` into the folder `out`.

    `out` gets `images/<sha256>.<ending>`, `manifest.jsonl` with a line for each address that
    gave an image (address, file, sha256, size in bytes, width, height, and what else the list says
    of it) and `failed.txt`
    with the others: address, tab, reason; both in the order of `images`.

    Gives each host that refused, with what it said last, and how many of its addresses were not
    asked for. Raises `LockstepError` if nothing is listed, or more than `max_failed_fraction`
    failed, these among them.
    """
    files = scratch / "files"
    files.mkdir(parents=True, exist_ok=True)
    for left in files.glob(f"{PART}*"):
        left.unlink()
    checks = _Checks(cache, files, settings.max_pixels)
    hosts = Hosts(policy)
    respect = settings.respect_opt_outs
    limits = Limits(settings.seconds, settings.max_bytes)
    fetcher = Fetcher(session, files, limits, hosts, respect_opt_outs=respect)
    code = hashing.digest_of(
        {
            "code": digest_of_code("lockstep.sources.download.fetch"),
            "user_agent": session.headers["User-Agent"],
            "respect_opt_outs": respect,
        }
    )

    def work(address: str) -> tuple[Outcome, str]:
        sha256, size = fetcher.fetch(address)
        return Outcome(sha256, size, respected=respect), checks.run(sha256)

    def is_known(outcome: Outcome) -> bool:
        if outcome.sha256 is None:
            return outcome.code == code
        return (outcome.respected or not respect) and (files / outcome.sha256).exists()

    def missing() -> Iterator[str]:
        for entry in read_list(images):
            outcome = _outcome(cache, entry["address"])
            if outcome is None or not is_known(outcome):
                yield entry["address"]

    done = by_host(
        missing(), host_of, work, hosts, workers=settings.workers, per_host=settings.per_host
    )
    for address, result in progress(done, sum(1 for _ in missing())):
        if isinstance(result, Failed):
            outcome = Outcome(failed=result.reason, transient=result.transient, code=code)
        else:
            outcome, checked = result
            checks.keep(str(outcome.sha256), checked)
        cache.put(address, json.dumps(asdict(outcome)))
    return _write(images, out, scratch, cache, checks, hosts, settings.max_failed_fraction)


class _Checks:
    """What files are, as texts in the cache, which hold for one version of the code."""

    def __init__(self, cache: ResumeCache, files: Path, max_pixels: int) -> None:
        code = digest_of_code("lockstep.sources.download.decode")
        self._prefix = f"verdict {code} {' '.join(LIBRARIES.values())} {max_pixels} "
        self._cache = cache
        self._files = files
        self._max_pixels = max_pixels
        self._one_at_a_time = Lock()  # An image unpacked may be a thousand times its file.

    def run(self, sha256: str) -> str:
        with self._one_at_a_time:
            try:
                return json.dumps(asdict(check(self._files / sha256, self._max_pixels)))
            except NoImage as reason:
                return json.dumps({"failed": str(reason)})

    def keep(self, sha256: str, checked: str) -> None:
        self._cache.put(self._prefix + sha256, checked)

    def result(self, sha256: str) -> Kind | str:
        """What the file is, or the reason why it is no image."""
        checked = self._cache.get(self._prefix + sha256)
        if checked is None:
            checked = self.run(sha256)
            self.keep(sha256, checked)
        found = json.loads(checked)
        return str(found["failed"]) if "failed" in found else Kind(**found)


def _write(
    images: Path,
    out: Path,
    scratch: Path,
    cache: ResumeCache,
    checks: _Checks,
    hosts: Hosts,
    max_failed_fraction: float,
) -> dict[str, int]:
    (out / IMAGES).mkdir()
    reasons: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    transient = scratch / "transient.txt"
    with (
        (out / FAILED).open("w", encoding="utf-8") as failed,
        transient.open("w", encoding="utf-8") as again,
    ):

        def lines() -> Iterator[dict[str, Any]]:
            for entry in read_list(images):
                address = entry["address"]
                outcome = _outcome(cache, address)
                assert outcome is not None  # each was asked for, or given up
                kind = checks.result(outcome.sha256) if outcome.sha256 else str(outcome.failed)
                if isinstance(kind, str):
                    failed.write(f"{address}\t{kind}\n")
                    reasons[kind] += 1
                    if kind == HOST_REFUSES:
                        refused[_refusal(hosts, host_of(address))] += 1
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
                    **{key: value for key, value in entry.items() if key != "address"},
                }

        good = write_lines(out / MANIFEST, lines())
    for address in transient.read_text("utf-8").splitlines():
        cache.remove(address)
    bad = reasons.total()
    if good + bad == 0:
        raise LockstepError(
            f"{images}: names no image; choose other dates in crawl.start, .end, or another "
            "crawl.table"
        )
    if bad > max_failed_fraction * (good + bad):
        shutil.copyfile(out / FAILED, scratch / FAILED)
        most = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        later = f"; {_named(refused)}: run again later" if refused else ", then run again"
        raise LockstepError(
            f"download.max_failed_fraction: {bad} of {good + bad} images failed, above "
            f"{max_failed_fraction}: {most}; see {scratch / FAILED}{later} or raise it; what was "
            "fetched is kept"
        )
    return dict(refused.most_common())


def _refusal(hosts: Hosts, host: str) -> str:
    said = hosts.refusal(host)
    return host if said is None else f"{host} ({said})"


def _named(refused: Mapping[str, int]) -> str:
    names = [*refused][:_NAMED]
    if len(refused) > _NAMED:
        names.append(f"{len(refused) - _NAMED} other hosts")
    return f"{', '.join(names)} refused {sum(refused.values())} images"


def _outcome(cache: ResumeCache, address: str) -> Outcome | None:
    text = cache.get(address)
    return None if text is None else Outcome(**json.loads(text))


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where a file cannot have two."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
