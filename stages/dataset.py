"""Pack the collected images with their conditions, split by what belongs together."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.files import atomic_folder
from lockstep.core.processes import progress
from lockstep.core.provenance import read_provenance
from lockstep.data import dataset, shards
from lockstep.sources.registry import source_of
from lockstep.stage import run


def main(params: Params) -> None:
    folder, settings = paths.collected(params.workload), params.dataset
    found = source_of(params).read(folder)
    split = dataset.split_of_groups(
        found.groups,
        validation=settings.validation,
        evaluator=settings.evaluator,
        seed=settings.seed,
    )
    if params.condition == "classes":
        dataset.check_classes(found.conditions, split, found.names)
    with atomic_folder(paths.dataset(params.workload)) as out:
        dataset.pack(
            out,
            progress("pack images", "image")(shards.images(found.images), len(found.images)),
            found.conditions,
            split,
            {**read_provenance(folder).params, **params.values("dataset")},
            mirrorable=found.mirrorable,
            names=found.names,
        )
        for path in found.carried:
            shutil.copyfile(path, out / path.name)


if __name__ == "__main__":
    run(main)
