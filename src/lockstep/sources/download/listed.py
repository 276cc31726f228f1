"""Fetch the images that a crawl listed; killed, the same call goes on."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core import hashing, paths
from lockstep.core.processes import progress
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.sources import source
from lockstep.sources.download.download import download
from lockstep.sources.listing import IMAGES
from lockstep.sources.origin import code_of
from lockstep.sources.resume_cache import exclusive_cache


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
        source.opened(origin, connections=settings.workers) as web,
    ):
        download(
            crawled / IMAGES,
            out,
            scratch,
            outcomes,
            web.session,
            settings,
            web.policy(settings.tries),
            progress("download", "image"),
        )
        decided = {**before.params, **params.deciding("download")}
        write_provenance(out, decided, origin=origin)
