"""Read a board's articles and note the images they name; killed, the same call goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

from tqdm import tqdm

from lockstep.config.schema import REPLICA, Params
from lockstep.core import hashing, paths
from lockstep.core.provenance import write_provenance
from lockstep.sources import source
from lockstep.sources.origin import code_of, origin_of
from lockstep.sources.ptt import output
from lockstep.sources.ptt.client import Client
from lockstep.sources.ptt.crawl import Criteria, must_be_over
from lockstep.sources.ptt.crawl import crawl as articles_of
from lockstep.sources.ptt.names import TAIPEI
from lockstep.sources.resume_cache import exclusive_cache

_DAY = 86_400  # seconds
_OF_TABLES = ("crawl.table", "crawl.table_sha256", "crawl.column", "crawl.text_column")


def check(params: Params) -> None:
    """Raises `LockstepError` if the last day is not over yet; the replica's all are."""
    if params.crawl.source != REPLICA:
        must_be_over(date.fromisoformat(params.crawl.end), datetime.now(TAIPEI).date())


def crawl(params: Params, out: Path) -> None:
    """Write the articles and the list of images of `params.crawl` into the folder `out`.

    Raises `LockstepError` if the board cannot be read, too many of its articles fail, or the last
    day is not over yet.
    """
    settings = params.crawl
    criteria = Criteria(
        start=date.fromisoformat(settings.start),
        end=date.fromisoformat(settings.end),
        min_pushes=settings.min_pushes,
        replies=settings.replies,
    )
    origin = origin_of(settings.source, settings.replica_articles, settings.replica_seed)
    check(params)
    # The other criteria do not change the pages: they need not be asked for again.
    work = {**origin, **code_of(origin), "board": settings.board, "end": settings.end}
    scratch = paths.scratch() / "crawl" / hashing.digest_of(work)
    with (
        exclusive_cache(scratch, "the same crawl is running") as pages,
        source.opened(origin, settings.user_agent) as web,
        _progress(criteria) as passed,
    ):
        delay = 0.0 if web.is_replica else settings.delay
        client = Client(
            web.session,
            web.address,
            delay=delay,
            policy=web.policy(settings.tries),
        )
        results = articles_of(
            client.page,
            web.address,
            settings.board,
            criteria,
            pages,
            passed,
            max_failed_fraction=settings.max_failed_fraction,
        )
        output.write(out, results)
        decided = params.deciding("crawl")
        for name in _OF_TABLES:
            del decided[name]
        write_provenance(out, decided, origin=origin)


@contextmanager
def _progress(criteria: Criteria) -> Iterator[Callable[[int], None]]:
    """A bar over the days: nobody knows how many articles there are. As `crawl`'s `passed`."""
    days = (criteria.end_second - criteria.first_second) // _DAY
    with tqdm(desc="crawl", total=days, unit="day", mininterval=1) as bar:

        def passed(second: int) -> None:
            walked = (criteria.end_second - second) // _DAY
            bar.update(max(0, min(walked, days) - bar.n))

        yield passed
        bar.update(days - bar.n)
