"""Fetch the pictures that a crawl found; killed, the same command goes on."""

import this_tree  # noqa: F401
from lockstep import atomic, fingerprint, paths, records
from lockstep.collect import source
from lockstep.collect.download.download import Settings, download
from lockstep.collect.journal import journal
from lockstep.collect.names import IMAGES, ORIGIN
from lockstep.collect.origin import code_of
from lockstep.collect.web.get import Limits
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.stage import progress, run


def main(params: Params) -> None:
    settings = params.download
    crawled = paths.crawled(params.workload)
    before = records.read(crawled / ORIGIN)
    origin = before["origin"]
    # What was fetched holds for other lists of addresses too.
    work = fingerprint.of({**origin, **code_of(origin), "max_bytes": settings.max_bytes})
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
        decided = {**before["params"], **params.deciding("download")}
        records.write(out / ORIGIN, {"origin": origin, "params": decided})


if __name__ == "__main__":
    run(main)
