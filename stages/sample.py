"""Draw the pictures that are evaluated, grids to look at, and the denoising strip."""

from contextlib import ExitStack

import torch
from safetensors.torch import save_file
from tqdm import tqdm

import this_tree  # noqa: F401
from lockstep import atomic, distributed, generator, paths, records
from lockstep.device import make_deterministic
from lockstep.labels import PROMPT_FILES, multi_hot, read_objects, read_prompts
from lockstep.params import Params
from lockstep.pictures import grid, write_numbered, write_png
from lockstep.pixels import to_bytes
from lockstep.sampling import denoising_strip, sample_together
from lockstep.stage import run

STRIP_PROMPT = ["red sphere", "cyan cylinder", "cyan cube"]


def main(params: Params) -> None:
    make_deterministic(params.threads)
    settings, seeds = params.sample, params.evaluate.seeds
    model, description = generator.load(paths.model(params.workload), settings.weights)
    folder = paths.dataset(params.workload)
    objects = read_objects(folder / "objects.json")
    prompts = {name: read_prompts(folder / f"{name}.json", objects) for name in PROMPT_FILES}
    labels = {name: torch.from_numpy(multi_hot(p, objects)).float() for name, p in prompts.items()}
    # Other objects than i-CLEVR's: the strip shows the first set that is asked for.
    known = all(name in objects for name in STRIP_PROMPT)
    strip_prompt = STRIP_PROMPT if known else prompts["test"][0]
    strip_labels = torch.from_numpy(multi_hot([strip_prompt], objects)).float()

    total = len(seeds) * settings.steps * sum(map(len, labels.values())) // distributed.size()
    samples, plots = paths.samples(params.workload), paths.plots(params.workload, "sample")
    with ExitStack() as stack:
        writes = distributed.is_main()
        bar = stack.enter_context(
            tqdm(
                total=total,
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
            tensors = {
                name: sample_together(
                    model, description, settings, wanted, seed=seed, progress=bar.update
                )
                for name, wanted in labels.items()
            }
            if not writes:
                continue
            for name, drawn in tensors.items():
                pictures = to_bytes(drawn)
                write_numbered(paths.drawn(out, number, seed) / "images" / name, pictures)
                if number == 0:
                    write_png(shown / f"{name}.png", grid(pictures, per_row=8))
            save_file(tensors, paths.drawn(out, number, seed) / "tensors.safetensors")
        if writes:
            strip = denoising_strip(model, description, settings, strip_labels, seed=seeds[0])
            write_png(shown / "strip.png", grid(to_bytes(strip), per_row=settings.strip))
            of_params = params.deciding("sample", "evaluate")
            sampling = {"model": description.fingerprint, "params": of_params}
            records.write(out / "sampling.json", sampling)


if __name__ == "__main__":
    run(main, processes=lambda params: params.sample.processes)
