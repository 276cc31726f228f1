"""Pictures for i-CLEVR: drawn by the ray-caster, or brought in from the official folder."""

import this_tree  # noqa: F401
from lockstep import atomic, content, paths, records
from lockstep.collect import iclevr
from lockstep.params import Params
from lockstep.stage import progress, run


def main(params: Params) -> None:
    size = params.scenes.size
    with atomic.folder(paths.collected(params.workload)) as out:
        if params.source == "rendered":
            iclevr.render(
                out,
                scenes=params.scenes.count,
                seed=params.scenes.seed,
                size=size,
                supersample=params.scenes.supersample,
                progress=progress("draw scenes", "scene"),
            )
        else:
            key = f"{params.workload}.source"
            source = content.verified(params.source, params.source_sha256, key)
            iclevr.import_folder(source, out, size, progress("read pictures", "picture"))
        records.write(out / "collected.json", params.origin())


if __name__ == "__main__":
    run(main)
