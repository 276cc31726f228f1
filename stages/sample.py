"""Sample the images that are evaluated, grids to look at, and denoising strips."""

import sys
from collections import deque
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import distributed, hashing, paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder
from lockstep.core.images import grid, write_animation, write_png
from lockstep.core.pixels import to_bytes
from lockstep.core.provenance import write_provenance
from lockstep.core.weights import save_weights
from lockstep.sampling.conditions import condition_of
from lockstep.sampling.sample import (
    denoising_strips,
    frames,
    load,
    moments,
    sample_by_batches,
)
from lockstep.sampling.targets import of_seed
from lockstep.stage import run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    settings, seeds = params.sample, params.sample.seeds
    classifier = paths.guiding_classifier(params.workload, settings.classifier_scale)
    with distributed.together():
        model = paths.model(params.workload)
        trained = load(model, settings.weights, settings.guidance_weights, classifier)
        targets = condition_of(params).targets(params)
    images = len(seeds) * sum(len(target.conditions) for target in targets.sets) + len(
        targets.strips
    )
    workload = params.workload
    with ExitStack() as stack:
        writes = distributed.is_main()
        bar = stack.enter_context(
            tqdm(
                total=settings.steps * images // distributed.size(),
                desc=f"sample {params.workload}",
                unit="image step",
                mininterval=1,
                disable=not writes,
            )
        )
        if writes:
            out = stack.enter_context(atomic_folder(paths.samples(workload)))
            shown = stack.enter_context(atomic_folder(paths.plots(workload, "sample")))
            apart = stack.enter_context(atomic_folder(paths.strips(workload)))
        for number, seed in enumerate(seeds):
            kept = {}
            for target in targets.sets:
                batches = sample_by_batches(
                    trained, settings, target.conditions, seed=seed, progress=bar.update
                )
                if writes:
                    kept[target.name] = target.write(of_seed(out, number, seed), batches)
                else:
                    deque(batches, maxlen=0)  # draws its share, and keeps nothing
            if writes and number == 0:
                for target in targets.sets:
                    sheet = grid(to_bytes(kept[target.name]), per_row=target.per_row)
                    write_png(shown / f"{target.name}.png", sheet)
            if writes and targets.exactly:
                save_weights(kept, of_seed(out, number, seed) / "tensors.safetensors")
        at = frames(settings)
        ways = denoising_strips(
            trained,
            settings,
            targets.strips,
            seed=seeds[0],
            at=at,
            progress=bar.update,
        )
        if writes:
            chosen = moments(settings.steps, settings.strip)
            strips = ways[:, [at.index(moment) for moment in chosen]]
            for number, strip in enumerate(strips, 1):
                row = grid(to_bytes(strip), per_row=len(chosen))
                write_png(apart / f"{number}.png", row)
            stacked = grid(to_bytes(strips.flatten(0, 1)), per_row=len(chosen))
            write_png(shown / "strip.png", stacked)
            sheets = [grid(to_bytes(state), per_row=4) for state in ways.unbind(dim=1)]
            write_animation(apart / "denoising.gif", np.stack(sheets), seconds=2.5)
            for folder in (out, apart):
                made_by = {"model": trained.description.fingerprint}
                if classifier is not None:
                    made_by["noisy_classifier"] = hashing.sha256(classifier)
                write_provenance(folder, params.deciding("sample"), **made_by)


if __name__ == "__main__":
    run(main, processes=lambda params: params.sample.processes)
