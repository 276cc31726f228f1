"""Draw the pictures that are evaluated, grids to look at, and denoising strips."""

from collections import deque
from contextlib import ExitStack

from safetensors.torch import save_file
from tqdm import tqdm

import this_tree  # noqa: F401
from lockstep import atomic, distributed, generator, paths, prompts, records
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.pictures import grid, write_png
from lockstep.pixels import to_bytes
from lockstep.sampling import denoising_strips, sample_by_batches
from lockstep.stage import run

ASKED = {
    "iclevr": prompts.of_labels,
    "faces": prompts.of_nothing,
    "anime": prompts.of_nothing,
}


def main(params: Params) -> None:
    make_deterministic(params.threads)
    settings, seeds = params.sample, params.evaluate.seeds
    model, description = generator.load(paths.model(params.workload), settings.weights)
    asked = ASKED[params.workload](params)
    count = sum(len(wanted.labels) for wanted in asked.sets)
    samples, plots = paths.samples(params.workload), paths.plots(params.workload, "sample")
    with ExitStack() as stack:
        writes = distributed.is_main()
        bar = stack.enter_context(
            tqdm(
                total=len(seeds) * settings.steps * count // distributed.size(),
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
                    model, description, settings, wanted.labels, seed=seed, progress=bar.update
                )
                if writes:
                    kept[wanted.name] = wanted.write(paths.drawn(out, number, seed), batches)
                else:
                    deque(batches, maxlen=0)  # draws its share, and keeps nothing
            if writes and number == 0:
                for name, pictures in kept.items():
                    write_png(shown / f"{name}.png", grid(to_bytes(pictures), per_row=8))
            if writes and asked.exactly:
                save_file(kept, paths.drawn(out, number, seed) / "tensors.safetensors")
        if writes:
            strips = denoising_strips(model, description, settings, asked.strips, seed=seeds[0])
            per_row = len(strips) // len(asked.strips)
            write_png(shown / "strip.png", grid(to_bytes(strips), per_row=per_row))
            decided = {**params.deciding("sample"), "evaluate.seeds": list(seeds)}
            sampling = {"model": description.fingerprint, "params": decided}
            records.write(out / "sampling.json", sampling)


if __name__ == "__main__":
    run(main, processes=lambda params: params.sample.processes)
