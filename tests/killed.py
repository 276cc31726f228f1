"""One stage's work as a program of its own, to be killed: `killed.py WHAT PORT FOLDER`."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

from collecting import AGENT
from lockstep.config.schema import Download
from lockstep.core.files import atomic_folder
from lockstep.sources.download.download import download
from lockstep.sources.listing import IMAGES
from lockstep.sources.ptt import output
from lockstep.sources.ptt.client import Client
from lockstep.sources.ptt.crawl import Criteria, crawl
from lockstep.sources.resume_cache import open_cache
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Loopback, session
from lockstep.synthetic.board.site import BOARD, SOURCE

POLICY = RetryPolicy(tries=4, backoff=0.001)
SETTINGS = Download(
    workers=4,
    per_host=3,
    tries=POLICY.tries,
    seconds=10.0,
    max_bytes=1_000_000,
    max_pixels=1_000_000,
    max_failed_fraction=0.5,
    user_agent=AGENT,
    respect_opt_outs=True,
)


def run_crawl(port: int, folder: Path, wanted: Criteria) -> None:
    """Into `folder/crawled`."""
    with open_cache(folder / "crawl.db") as pages, atomic_folder(folder / "crawled") as out:
        client = Client(session(Loopback(port), AGENT), SOURCE, delay=0.0, policy=POLICY)
        output.write(out, crawl(client.page, SOURCE, BOARD, wanted, pages))


def run_download(
    port: int,
    folder: Path,
    images: Path | None = None,
    settings: Download = SETTINGS,
    policy: RetryPolicy = POLICY,
) -> dict[str, int]:
    """Into `folder/downloaded`."""
    with (
        open_cache(folder / "download.db") as outcomes,
        atomic_folder(folder / "downloaded") as out,
    ):
        return download(
            images or folder / "crawled" / IMAGES,
            out,
            folder / "scratch",
            outcomes,
            session(Loopback(port), AGENT),
            settings,
            policy,
            lambda items, total: items,
        )


if __name__ == "__main__":
    what, port, folder = sys.argv[1:]
    if what == "crawl":
        run_crawl(int(port), Path(folder), Criteria(date(2022, 1, 1), date(2023, 12, 31)))
    else:
        run_download(int(port), Path(folder))
