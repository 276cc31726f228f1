"""Look at what drawn pictures are compared with, once for all comparisons."""

import this_tree  # noqa: F401
from lockstep import atomic, distributed, paths, records
from lockstep.dataset import open_dataset
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.stage import run


def main(params: Params) -> None:
    # Here, not above: processes that look at faces import this file too, and need none of it.
    from lockstep.evaluation import reference, spaces

    make_deterministic(params.threads)
    data = open_dataset(paths.dataset(params.workload))
    pictures = reference.pictures(params, data)
    seen = {
        space.name: reference.see(space.features(pictures))
        for space in spaces.of_workload(params, data)
    }
    if (statistics := reference.statistics(params)) is not None:
        # They are of the network that people exchange statistics of, if it is there.
        seen[list(seen)[-1]] = statistics
    if distributed.is_main():
        with atomic.folder(paths.reference(params.workload)) as out:
            for name, one in seen.items():
                reference.save(out / f"{name}.npz", one)
            records.write(out / paths.REFERENCE, reference.decided(params))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
