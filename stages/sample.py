"""Draw the pictures that are evaluated, grids to look at, and denoising strips."""

from collections import deque
from contextlib import ExitStack

import numpy as np
from safetensors.torch import save_file
from tqdm import tqdm

import this_tree  # noqa: F401
from lockstep import atomic, distributed, paths, prompts, reading, records
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.pictures import grid, write_animation, write_png
from lockstep.pixels import to_bytes
from lockstep.sampling import denoising_strips, frames, load, moments, sample_by_batches
from lockstep.stage import run

ASKED = {
    "iclevr": prompts.of_labels,
    "faces": prompts.of_nothing,
    "anime": prompts.of_nothing,
    "captions": reading.of_captions,
}


def main(params: Params) -> None:
    make_deterministic(params.threads)
    settings, seeds = params.sample, params.evaluate.seeds
    with distributed.together():
        trained = load(paths.model(params.workload), settings.weights)
        asked = ASKED[params.workload](params)
    pictures = len(seeds) * sum(len(wanted.conditions) for wanted in asked.sets) + len(asked.strips)
    samples, plots = paths.samples(params.workload), paths.plots(params.workload, "sample")
    with ExitStack() as stack:
        writes = distributed.is_main()
        bar = stack.enter_context(
            tqdm(
                total=settings.steps * pictures // distributed.size(),
                desc=f"sample {params.workload}",
                unit="picture step",
                mininterval=1,
                disable=not writes,
            )
        )
        if writes:
            out = stack.enter_context(atomic.folder(samples))
            shown = stack.enter_context(atomic.folder(plots))
        for number, seed in enumerate(seeds):
            kept = {}
            for wanted in asked.sets:
                batches = sample_by_batches(
                    trained, settings, wanted.conditions, seed=seed, progress=bar.update
                )
                if writes:
                    kept[wanted.name] = wanted.write(paths.drawn(out, number, seed), batches)
                else:
                    deque(batches, maxlen=0)  # draws its share, and keeps nothing
            if writes and number == 0:
                for name, drawn in kept.items():
                    write_png(shown / f"{name}.png", grid(to_bytes(drawn), per_row=8))
            if writes and asked.exactly:
                save_file(kept, paths.drawn(out, number, seed) / "tensors.safetensors")
        at = frames(settings)
        ways = denoising_strips(
            trained,
            settings,
            asked.strips,
            seed=seeds[0],
            at=at,
            progress=bar.update,
        )
        if writes:
            chosen = moments(settings.steps, settings.strip)
            strips = ways[:, [at.index(moment) for moment in chosen]]
            for number, strip in enumerate(strips, 1):
                row = grid(to_bytes(strip), per_row=len(chosen))
                write_png(shown / "strips" / f"{number}.png", row)
            stacked = grid(to_bytes(strips.flatten(0, 1)), per_row=len(chosen))
            write_png(shown / "strip.png", stacked)
            sheets = [grid(to_bytes(state), per_row=4) for state in ways.unbind(dim=1)]
            write_animation(shown / "denoising.gif", np.stack(sheets), seconds=2.5)
            decided = {**params.deciding("sample"), "evaluate.seeds": list(seeds)}
            sampling = {"model": trained.description.fingerprint, "params": decided}
            records.write(out / "sampling.json", sampling)


if __name__ == "__main__":
    run(main, processes=lambda params: params.sample.processes)
