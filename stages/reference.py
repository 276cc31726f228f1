"""Look at what drawn pictures are compared with, once for all comparisons."""

from threadpoolctl import threadpool_limits

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
    threadpool_limits(params.threads, user_api="blas")
    with distributed.together():
        data = open_dataset(paths.dataset(params.workload))
        reference.check(params, data)
        networks = spaces.of_workload(params, data)
    seen: dict[str, reference.Seen] = {}
    for space in networks:
        seen |= reference.of_space(params, data, space)
    if distributed.is_main():
        with atomic.folder(paths.reference(params.workload)) as out:
            for name, one in seen.items():
                reference.save(out / f"{name}.npz", one)
            records.write(out / paths.REFERENCE, reference.decided(params))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
