"""Draw the pictures that are evaluated, grids to look at, and the denoising strip."""

import torch
from safetensors.torch import save_file
from tqdm import tqdm

import this_tree  # noqa: F401
from lockstep import atomic, generator, paths
from lockstep.device import make_deterministic
from lockstep.labels import PROMPT_FILES, multi_hot, read_objects, read_prompts
from lockstep.params import Params
from lockstep.pictures import grid, to_bytes, write_numbered, write_png
from lockstep.sampling import denoising_strip, sample
from lockstep.stage import run

STRIP_PROMPT = ["red sphere", "cyan cylinder", "cyan cube"]


def main(params: Params) -> None:
    make_deterministic(params.threads)
    settings, seeds = params.sample, params.evaluate.seeds
    model, description = generator.load(paths.model(params.workload), settings.weights)
    labels_folder = paths.dataset(params.workload)
    objects = read_objects(labels_folder / "objects.json")
    prompts = {name: read_prompts(labels_folder / f"{name}.json", objects) for name in PROMPT_FILES}
    labels = {
        name: torch.from_numpy(multi_hot(sets, objects)).float() for name, sets in prompts.items()
    }
    total = len(seeds) * settings.steps * sum(map(len, labels.values()))
    bar = tqdm(total=total, desc=f"sample {params.workload}", unit="picture step", mininterval=1)
    samples, plots = paths.samples(params.workload), paths.plots(params.workload, "sample")
    with bar, atomic.folder(samples) as out, atomic.folder(plots) as shown:
        for number, seed in enumerate(seeds):
            # The first set stands where the official evaluation looks for it.
            folder = out if number == 0 else out / f"seed_{seed}"
            tensors = {}
            for name, wanted in labels.items():
                tensors[name] = sample(
                    model, description, settings, wanted, seed=seed, progress=bar.update
                )
                pictures = to_bytes(tensors[name])
                write_numbered(folder / "images" / name, pictures)
                if number == 0:
                    write_png(shown / f"{name}.png", grid(pictures, per_row=8))
            save_file(tensors, folder / "tensors.safetensors")
        strip_labels = torch.from_numpy(multi_hot([STRIP_PROMPT], objects)).float()
        strip = denoising_strip(model, description, settings, strip_labels, seed=seeds[0])
        write_png(shown / "strip.png", grid(to_bytes(strip), per_row=settings.strip))
        sampling = {"model": description.fingerprint, "params": params.values("sample", "evaluate")}
        atomic.write_json(out / "sampling.json", sampling)


if __name__ == "__main__":
    run(main)
