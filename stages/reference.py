"""Features of what generated images are compared with, once for all comparisons."""

import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder
from lockstep.core.provenance import write_provenance
from lockstep.data.dataset import open_dataset
from lockstep.evaluation import reference
from lockstep.evaluation.spaces import spaces_of
from lockstep.stage import run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    threadpool_limits(params.threads, user_api="blas")
    with distributed.together():
        data = open_dataset(paths.dataset(params.workload))
        reference.check(params, data)
        networks = spaces_of(params, data)
    found: dict[str, reference.Statistics] = {}
    for space in networks:
        found |= reference.of_space(params, data, space)
    if distributed.is_main():
        with atomic_folder(paths.reference(params.workload)) as out:
            for name, one in found.items():
                reference.save(out / f"{name}.npz", one)
            write_provenance(out, reference.decided(params))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
