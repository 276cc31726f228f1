"""Score the generated images, and write the metrics into the run of the model that made them."""

import sys
from contextlib import ExitStack
from pathlib import Path

from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder, write_json
from lockstep.core.provenance import write_provenance
from lockstep.evaluation import distances
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.stage import run
from lockstep.tracking.record import at_the_end, record


def main(params: Params) -> None:
    workload = params.workload
    make_deterministic(params.threads)
    threadpool_limits(params.threads, user_api="blas")
    with ExitStack() as stack:
        out = shown = Path()
        if distributed.is_main():
            out = stack.enter_context(atomic_folder(paths.tables(workload, "evaluate")))
            shown = stack.enter_context(atomic_folder(paths.plots(workload, "evaluate")))
        metrics = evaluator_of(params).metrics(params, out) | distances.metrics(params, shown)
        if distributed.is_main():
            decided = params.deciding("evaluate")
            if params.reads_text:  # a CLIP scores too
                names = ("text.encoder", "text.encoder_sha256")
                decided |= {name: params.values("text")[name] for name in names}
            write_provenance(out, decided)
    if distributed.is_main():
        write_json(paths.metrics(workload, "evaluate"), metrics)
        at_the_end(lambda: record(workload))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
