"""One stage's work as a program of its own, to be killed: `killed.py WHAT PORT FOLDER`."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

from lockstep.core.files import atomic_folder
from lockstep.sources.download.download import Settings, download
from lockstep.sources.names import IMAGES
from lockstep.sources.ptt import output
from lockstep.sources.ptt.client import Client
from lockstep.sources.ptt.crawl import Wanted, crawl
from lockstep.sources.resume_cache import journal
from lockstep.sources.web.get import Limits
from lockstep.sources.web.loopback import Loopback
from lockstep.sources.web.retries import Patience
from lockstep.sources.web.session import session
from lockstep.synthetic.board.site import BOARD, SOURCE

PATIENCE = Patience(tries=4, backoff=0.001)
SETTINGS = Settings(
    workers=4,
    per_host=3,
    max_pixels=1_000_000,
    max_failed_fraction=0.5,
    limits=Limits(10.0, 1_000_000),
    patience=PATIENCE,
)


def run_crawl(port: int, folder: Path, wanted: Wanted) -> None:
    """Into `folder/crawled`."""
    with journal(folder / "crawl.db") as pages, atomic_folder(folder / "crawled") as out:
        client = Client(session(Loopback(port)), SOURCE, delay=0.0, patience=PATIENCE)
        output.write(out, crawl(client.page, SOURCE, BOARD, wanted, pages))


def run_download(
    port: int, folder: Path, images: Path | None = None, settings: Settings = SETTINGS
) -> None:
    """Into `folder/downloaded`."""
    with journal(folder / "download.db") as outcomes, atomic_folder(folder / "downloaded") as out:
        download(
            images or folder / "crawled" / IMAGES,
            out,
            folder / "scratch",
            outcomes,
            session(Loopback(port)),
            settings,
            lambda items, total: items,
        )


if __name__ == "__main__":
    what, port, folder = sys.argv[1:]
    if what == "crawl":
        run_crawl(int(port), Path(folder), Wanted(date(2022, 1, 1), date(2023, 12, 31)))
    else:
        run_download(int(port), Path(folder))
