"""Merge the pictures of folders and archives; killed, the same command goes on."""

import this_tree  # noqa: F401
from lockstep import atomic, fingerprint, paths, records
from lockstep.collect.faces import exclude
from lockstep.collect.folders import drawn
from lockstep.collect.folders.decide import Rules
from lockstep.collect.folders.look import Looking
from lockstep.collect.folders.merge import merge, what_decides
from lockstep.collect.folders.origin import verified
from lockstep.collect.journal import journal
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.stage import progress, run
from lockstep.workers import cores


def main(params: Params) -> None:
    settings = params.merge
    looking = Looking(settings.size, params.download.max_pixels)
    rules = Rules(
        min_side=settings.min_side,
        max_aspect=settings.max_aspect,
        min_contrast=settings.min_contrast,
        duplicate_bits=settings.duplicate_bits,
    )
    exclusions = exclude.read(paths.EXCLUDE).of_merges()
    scratch = paths.scratch() / "merge"
    heads = drawn.Heads(settings.drawn_count, settings.drawn_seed)
    work = fingerprint.of(what_decides(looking))
    with (
        exclusive(scratch / f"{work}.lock", "the same merge is running"),
        journal(scratch / work / "journal.db") as seen,
        atomic.folder(paths.collected(params.workload)) as out,
    ):
        sources, hashes = verified(
            settings.sources,
            settings.sources_sha256,
            paths.home(),
            lambda: heads.sources(scratch / "drawn", cores(), progress("draw heads", "picture")),
        )
        found = merge(
            sources,
            out,
            seen,
            looking,
            rules,
            exclusions,
            params.download.max_bytes,
            cores(),
            progress("merge", "file"),
        )
        figures: dict[str, float] = {"kept": found.kept, "found": len(found.rows)}
        if settings.sources == (drawn.DRAWN,):
            figures |= heads.precision_and_recall(found)
        values = {**params.values("merge"), "merge.sources_sha256": hashes}
        records.write(out / "collected.json", values)
    records.write(paths.metrics(params.workload, "merge"), figures)


if __name__ == "__main__":
    run(main)
