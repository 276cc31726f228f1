"""Pack the collected pictures with their conditions, split by what belongs together."""

import shutil

import this_tree  # noqa: F401
from lockstep import atomic, captioned, collected, dataset, paths, records
from lockstep.params import Params
from lockstep.pictures import read_rgb
from lockstep.stage import progress, run

READ = {
    "iclevr": collected.with_labels,
    "faces": collected.faces,
    "anime": collected.merged,
    "captions": captioned.with_captions,
}


def main(params: Params) -> None:
    folder = paths.collected(params.workload)
    found = READ[params.workload](folder)
    split = dataset.split_of_groups(
        found.groups,
        validation=params.dataset.validation,
        judge=params.dataset.judge,
        seed=params.dataset.seed,
    )
    pictures = (read_rgb(path) for path in found.pictures)
    with atomic.folder(paths.dataset(params.workload)) as out:
        dataset.pack(
            out,
            progress("pack pictures", "picture")(pictures, len(found.pictures)),
            found.conditions,
            split,
            {**records.read(folder / "collected.json"), **params.values("dataset")},
            mirrorable=found.mirrorable,
        )
        for path in found.carried:
            shutil.copyfile(path, out / path.name)


if __name__ == "__main__":
    run(main)
