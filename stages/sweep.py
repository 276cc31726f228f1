"""Draw and score the pictures with one guidance scale after another, and one sampler."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from threadpoolctl import threadpool_limits

import this_tree  # noqa: F401
from lockstep import atomic, distributed, paths, records, tables
from lockstep.device import make_deterministic
from lockstep.evaluation import sweep
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.recording import at_the_end, record_sweep
from lockstep.sampling import load
from lockstep.stage import progress, run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    threadpool_limits(params.threads, user_api="blas")
    with distributed.together():
        trained = load(paths.model(params.workload), params.sample.weights)
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
            shown = progress(f"sweep {name}", "setting")(some, len(some))
            rows[name], seconds[name] = sweep.measure(params, trained, shown, kept)
        if distributed.is_main():
            changes = {
                name: [sweep.changes(params.sample, setting) for _, setting in some]
                for name, some in settings.items()
            }
            with atomic.folder(paths.plots(params.workload, "sweep")) as out:
                write(out, rows, sweep.ACCURACY[params.workload])
                decided = params.deciding("sample", "sweep")
                decided["evaluate.seeds"] = list(params.evaluate.seeds)
                about = {"model": description.fingerprint, "params": decided, "settings": changes}
                records.write(out / "sweep.json", about)
            records.write(paths.metrics(params.workload, "sweep"), sweep.best(rows["guidance"]))
            at_the_end(lambda: record_sweep(params.workload, seconds))
            shutil.rmtree(kept, ignore_errors=True)


def write(out: Path, rows: dict[str, list[sweep.Row]], accuracy: str) -> None:
    """Tables and charts; `accuracy` is what `sweep.mean_accuracy` is called."""
    for name, found in rows.items():
        tables.write(out / f"{name}.csv", found)
    (out / "guidance.png").write_bytes(sweep.guidance_chart(rows["guidance"]))
    figures = {"steps_distance": (sweep.distance, "Fréchet distance")}
    if sweep.accuracies(rows["samplers"][0]):
        figures["steps"] = (sweep.mean_accuracy, accuracy)
    for name, (figure, label) in figures.items():
        table = sweep.by_steps(rows["samplers"], figure)
        tables.write(out / f"{name}.csv", table)
        (out / f"{name}.png").write_bytes(sweep.steps_chart(table, label))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
