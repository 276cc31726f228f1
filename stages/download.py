"""Fetch the pictures that a crawl found; killed, the same command goes on."""

import this_tree  # noqa: F401
from lockstep import atomic, fingerprint, paths, records
from lockstep.collect import replica, source
from lockstep.collect.download.download import Settings, download
from lockstep.collect.journal import journal
from lockstep.collect.listing import IMAGES
from lockstep.collect.web.get import Limits
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.stage import progress, run


def main(params: Params) -> None:
    settings = params.download
    crawled = paths.crawled(params.workload)
    origin = records.read(crawled / "source.json")
    # What was fetched holds for other lists of addresses too.
    work = fingerprint.of({**origin, **replica.code(origin), "max_bytes": settings.max_bytes})
    scratch = paths.scratch() / "download"
    with (
        exclusive(scratch / f"{work}.lock", "the same download is running"),
        journal(scratch / work / "journal.db") as outcomes,
        source.opened(origin, connections=settings.workers) as web,
        atomic.folder(paths.downloaded(params.workload)) as out,
    ):
        download(
            crawled / IMAGES,
            out,
            scratch / work,
            outcomes,
            web.session,
            Settings(
                workers=settings.workers,
                per_host=settings.per_host,
                max_pixels=settings.max_pixels,
                max_failed_fraction=settings.max_failed_fraction,
                limits=Limits(settings.seconds, settings.max_bytes),
                patience=web.patience(settings.tries),
            ),
            progress("download", "picture"),
        )
        records.write(out / "source.json", origin)


if __name__ == "__main__":
    run(main)
