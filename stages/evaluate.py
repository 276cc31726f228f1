"""Score the drawn pictures, and write the figures into the run of the model that drew them."""

import this_tree  # noqa: F401
from lockstep import distributed, paths, records
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.stage import run


def main(params: Params) -> None:
    # Here, not above: processes that look at faces import this file too, and need none of it.
    from lockstep.evaluation import distances, labelled
    from lockstep.recording import record

    figures = {"iclevr": labelled.figures, "faces": distances.of_faces}
    make_deterministic(params.threads)
    metrics = figures[params.workload](params)
    if distributed.is_main():
        records.write(paths.metrics(params.workload, "evaluate"), metrics)
        record(params.workload)


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
