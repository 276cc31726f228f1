"""Sample and score images with one guidance scale after another, and one sampler."""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder, write_csv, write_json
from lockstep.core.lock import exclusive
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.evaluation import sweep
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.sampling.sample import load
from lockstep.stage import run
from lockstep.tracking.record import at_the_end, record_sweep


def main(params: Params) -> None:
    make_deterministic(params.threads)
    threadpool_limits(params.threads, user_api="blas")
    with distributed.together():
        base, model = params.sample, paths.model(params.workload)
        trained = load(model, base.weights, base.guidance_weights)
    description = trained.description
    settings = {
        "guidance": sweep.guidance_settings(params),
        "samplers": sweep.sampler_settings(params),
    }
    kept = paths.scratch() / "sweep" / sweep.identity(params, description)
    with ExitStack() as stack:
        if distributed.is_main():
            lock = kept.with_name(f"{kept.name}.lock")
            stack.enter_context(exclusive(lock, "a sweep of the same model is running"))
        rows, seconds = {}, {}
        for name, some in settings.items():
            bar = progress(f"sweep {name}", "setting")(some, len(some))
            rows[name], seconds[name] = sweep.measure(params, trained, bar, kept)
        if distributed.is_main():
            changes = {
                name: [sweep.changes(base, setting) for _, setting in some]
                for name, some in settings.items()
            }
            shown = stack.enter_context(atomic_folder(paths.plots(params.workload, "sweep")))
            out = stack.enter_context(atomic_folder(paths.tables(params.workload, "sweep")))
            write(out, shown, rows, evaluator_of(params).ACCURACY)
            decided = params.deciding("sample", "sweep")
            write_provenance(out, decided, model=description.fingerprint, settings=changes)
            write_json(paths.metrics(params.workload, "sweep"), sweep.best(rows["guidance"]))
    if distributed.is_main():
        at_the_end(lambda: record_sweep(params.workload, seconds))
        shutil.rmtree(kept, ignore_errors=True)


def write(out: Path, shown: Path, rows: dict[str, list[sweep.Row]], accuracy: str) -> None:
    """Tables into `out` and charts into `shown`; `accuracy` is what `sweep.mean_accuracy` is."""
    for name, found in rows.items():
        if found:
            write_csv(out / f"{name}.csv", found)
    if rows["guidance"]:
        (shown / "guidance.png").write_bytes(sweep.guidance_chart(rows["guidance"]))
    if not rows["samplers"]:
        return
    metrics = {"steps_distance": (sweep.distance, "Fréchet distance")}
    if sweep.accuracies(rows["samplers"][0]):
        metrics["steps"] = (sweep.mean_accuracy, accuracy)
    for name, (metric, label) in metrics.items():
        table = sweep.by_steps(rows["samplers"], metric)
        write_csv(out / f"{name}.csv", table)
        (shown / f"{name}.png").write_bytes(sweep.steps_chart(table, label))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
