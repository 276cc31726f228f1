"""The network that measures the workload: trained here, or one that is there already."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder, write_json
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.stage import run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    with atomic_folder(paths.evaluator(params.workload)) as out:
        metrics = evaluator_of(params).train(params, out)
    write_json(paths.metrics(params.workload, "evaluator"), metrics)


if __name__ == "__main__":
    run(main)
