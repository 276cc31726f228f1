"""Pictures as latents and prompts as what the generator reads, each computed once."""

import this_tree  # noqa: F401
from lockstep import atomic, autoencoder, dataset, encoded, paths
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.stage import progress, run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    made = autoencoder.load(paths.autoencoder(params.workload))
    data = dataset.open_dataset(paths.dataset(params.workload))
    bar = progress(f"encode {params.workload}", "batch")
    with atomic.folder(paths.encoded(params.workload)) as out:
        autoencoder.save(made, out)
        latents = encoded.latents(made, data, bar)
        if params.reads_text:
            encoded.write_rows(params, data, out)
        dataset.write_encoded(out, data, latents, encoded.decided(params))


if __name__ == "__main__":
    run(main)
