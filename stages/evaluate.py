"""Score the drawn pictures, and write the figures into the run of the model that drew them."""

from contextlib import ExitStack
from pathlib import Path

from threadpoolctl import threadpool_limits

import this_tree  # noqa: F401
from lockstep import atomic, distributed, paths, records
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.stage import run


def main(params: Params) -> None:
    # Here, not above: processes that look at faces import this file too, and need none of it.
    from lockstep.evaluation import captioned_figures, distances, labelled
    from lockstep.recording import at_the_end, record

    figures = {
        "iclevr": (labelled.figures, distances.figures),
        "faces": (distances.figures,),
        "anime": (distances.figures,),
        "captions": (captioned_figures.figures, distances.figures),
    }
    make_deterministic(params.threads)
    threadpool_limits(params.threads, user_api="blas")
    with ExitStack() as stack:
        out = Path()
        if distributed.is_main():
            out = stack.enter_context(atomic.folder(paths.plots(params.workload, "evaluate")))
        metrics: dict[str, float] = {}
        for measure in figures[params.workload]:
            metrics |= measure(params, out)
        if distributed.is_main():
            records.write(out / paths.EVALUATED, params.deciding("evaluate"))
    if distributed.is_main():
        records.write(paths.metrics(params.workload, "evaluate"), metrics)
        at_the_end(lambda: record(params.workload))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
