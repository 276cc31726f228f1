"""Read a board's articles and note the pictures they name; killed, the same command goes on."""

from datetime import date, datetime

import this_tree  # noqa: F401
from lockstep import atomic, fingerprint, paths, records
from lockstep.collect import source
from lockstep.collect.journal import journal
from lockstep.collect.names import ORIGIN
from lockstep.collect.origin import REPLICA, code_of, origin_of
from lockstep.collect.ptt import output
from lockstep.collect.ptt.client import Client
from lockstep.collect.ptt.crawl import Wanted, crawl, must_be_over
from lockstep.collect.ptt.names import TAIPEI
from lockstep.collect.ptt.progress import progress
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.stage import run


def main(params: Params) -> None:
    settings = params.crawl
    wanted = Wanted(
        start=date.fromisoformat(settings.start),
        end=date.fromisoformat(settings.end),
        min_pushes=settings.min_pushes,
        replies=settings.replies,
    )
    origin = origin_of(settings.source, settings.replica_articles, settings.replica_seed)
    if settings.source != REPLICA:
        must_be_over(wanted.end, datetime.now(TAIPEI).date())
    # What else is wanted does not change the pages: they need not be asked for again.
    work = fingerprint.of(
        {**origin, **code_of(origin), "board": settings.board, "end": settings.end}
    )
    scratch = paths.scratch() / "crawl"
    with (
        exclusive(scratch / f"{work}.lock", "the same crawl is running"),
        journal(scratch / work / "journal.db") as pages,
        source.opened(origin) as web,
        atomic.folder(paths.crawled(params.workload)) as out,
        progress(wanted) as passed,
    ):
        client = Client(
            web.session,
            web.address,
            delay=0.0 if web.is_replica else settings.delay,
            patience=web.patience(settings.tries),
        )
        articles = crawl(client.page, web.address, settings.board, wanted, pages, passed)
        output.write(out, articles)
        records.write(out / ORIGIN, {"origin": origin, "params": params.deciding("crawl")})


if __name__ == "__main__":
    run(main)
