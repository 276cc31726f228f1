"""Sample and score images with one guidance scale, sampler or other setting after another."""

import sys
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params, Sample
from lockstep.core import distributed, hashing, paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder, write_csv, write_json
from lockstep.core.lock import exclusive
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.evaluation import sweep
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.models import generator
from lockstep.sampling.sample import Trained, load
from lockstep.stage import run
from lockstep.tracking.record import at_the_end, record_sweep


def main(params: Params) -> None:
    make_deterministic(params.threads)
    threadpool_limits(params.threads, user_api="blas")
    base, folder = params.sample, paths.model(params.workload)
    with distributed.together():
        description = generator.describe(folder)

    @lru_cache(maxsize=1)
    def model(
        weights: str | int, guidance_weights: str | int | None, classifier: Path | None
    ) -> Trained:
        with distributed.together():
            return load(folder, weights, guidance_weights, classifier)

    def named(one: Sample) -> tuple[str | int, str | int | None, Path | None]:
        classifier = paths.guiding_classifier(params.workload, one.classifier_scale)
        return one.weights, one.guidance_weights, classifier

    settings = {
        "guidance": sweep.guidance_settings(params),
        "samplers": sweep.sampler_settings(params),
        "settings": sweep.other_settings(params),
    }
    every = [one for some in settings.values() for _, one in some]
    for networks in dict.fromkeys(map(named, every)):
        model(*networks)  # are they there? Before hours of sampling
    # It stays: another list of settings has rows in common with this one.
    kept = paths.scratch() / "sweep" / sweep.identity(params, description)
    with ExitStack() as stack:
        if distributed.is_main():
            lock = kept.with_name(f"{kept.name}.lock")
            stack.enter_context(exclusive(lock, "a sweep of the same model is running"))
        rows, seconds = {}, {}
        for name, some in settings.items():
            bar = progress(f"sweep {name}", "setting")(some, len(some))
            rows[name], seconds[name] = sweep.measure(
                params, lambda one: model(*named(one)), bar, kept
            )
        if distributed.is_main():
            changes = {
                name: [sweep.changes(base, setting) for _, setting in some]
                for name, some in settings.items()
            }
            out = stack.enter_context(atomic_folder(paths.tables(params.workload, "sweep")))
            shown = stack.enter_context(atomic_folder(paths.plots(params.workload, "sweep")))
            write(out, shown, rows, evaluator_of(params).ACCURACY)
            decided = params.deciding("sample", "sweep")
            made_by = {"model": description.fingerprint}
            if any(one.classifier_scale for one in every):
                made_by["noisy_classifier"] = hashing.sha256(
                    paths.noisy_classifier(params.workload)
                )
            write_provenance(out, decided, **made_by, settings=changes)
            write_json(paths.metrics(params.workload, "sweep"), sweep.best(rows["guidance"]))
    if distributed.is_main():
        at_the_end(lambda: record_sweep(params.workload, seconds))


def write(out: Path, shown: Path, rows: dict[str, list[sweep.Row]], accuracy: str) -> None:
    """Tables into `out` and charts into `shown`; `accuracy` is what `sweep.mean_accuracy` is."""
    for name, found in rows.items():
        if found:
            write_csv(out / f"{name}.csv", found)
    if rows["guidance"]:
        (shown / "guidance.png").write_bytes(sweep.guidance_chart(rows["guidance"]))
    if not (others := [*rows["samplers"], *rows["settings"]]):
        return
    metrics = {"_distance": (sweep.distance, "Fréchet distance")}
    if sweep.accuracies(others[0]):
        metrics[""] = (sweep.mean_accuracy, accuracy)
    for name, (metric, label) in metrics.items():
        chart = sweep.evaluations_chart(rows["samplers"], rows["settings"], metric, label)
        (shown / f"evaluations{name}.png").write_bytes(chart)
        if rows["samplers"]:
            table = sweep.by_steps(rows["samplers"], metric)
            write_csv(out / f"steps{name}.csv", table)
            (shown / f"steps{name}.png").write_bytes(sweep.steps_chart(table, label))


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
