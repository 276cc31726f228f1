"""Pack the collected pictures with their conditions, split by scene."""

import this_tree  # noqa: F401
from lockstep import atomic, dataset, paths, records
from lockstep.labels import (
    PROMPT_FILES,
    multi_hot,
    read_labels,
    scene_of,
    speaks_of_sides,
    write_labels,
)
from lockstep.params import Params
from lockstep.pictures import read_rgb
from lockstep.stage import progress, run


def main(params: Params) -> None:
    collected = paths.collected(params.workload)
    labels = read_labels(collected)
    names = sorted(labels.train)
    split = dataset.split_of_groups(
        [scene_of(name) for name in names],
        validation=params.dataset.validation,
        judge=params.dataset.judge,
        seed=params.dataset.seed,
    )
    pictures = (read_rgb(collected / "images" / name) for name in names)
    with atomic.folder(paths.dataset(params.workload)) as out:
        dataset.pack(
            out,
            progress("pack pictures", "picture")(pictures, len(names)),
            multi_hot([labels.train[name] for name in names], labels.objects),
            split,
            {**records.read(collected / "collected.json"), **params.values("dataset")},
            mirrorable=not speaks_of_sides(labels.objects),
        )
        for name in ("objects", *PROMPT_FILES):
            write_labels(out, name, getattr(labels, name))


if __name__ == "__main__":
    run(main)
