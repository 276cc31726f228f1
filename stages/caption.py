"""Pictures with a sentence each: drawn by the ray-caster, or brought in from a user's folder."""

import this_tree  # noqa: F401
from lockstep import atomic, content, paths, records
from lockstep.collect.captions.drawn import render
from lockstep.collect.captions.folder import import_folder
from lockstep.collect.folders.look import Looking
from lockstep.params import Params
from lockstep.stage import progress, run
from lockstep.workers import cores


def main(params: Params) -> None:
    settings = params.caption
    with atomic.folder(paths.collected(params.workload)) as out:
        if params.source == "rendered":
            render(
                out,
                count=settings.count,
                seed=settings.seed,
                size=settings.size,
                supersample=settings.supersample,
                processes=cores(),
                progress=progress("draw scenes", "picture"),
            )
        else:
            key = f"{params.workload}.source"
            source = content.verified(params.source, params.source_sha256, key)
            looking = Looking(settings.size, params.download.max_pixels)
            import_folder(source, out, looking, cores(), progress("read pictures", "picture"))
        records.write(out / "collected.json", params.origin())


if __name__ == "__main__":
    run(main)
