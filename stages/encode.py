"""Images as latents and prompts as what the generator reads, each computed once."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder
from lockstep.core.processes import progress
from lockstep.core.provenance import read_provenance
from lockstep.data import dataset, encode
from lockstep.data.texts import texts_of
from lockstep.models import autoencoder
from lockstep.stage import run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    with distributed.together():
        made = autoencoder.load(paths.autoencoder(params.workload))
        data = dataset.open_dataset(paths.dataset(params.workload))
    bar = progress(f"encode {params.workload}", "batch")
    if not distributed.is_main():
        shared: Path = distributed.from_main(None)
        encode.write_latents(shared, made, data, lambda batches, _: batches)
        return
    with atomic_folder(paths.encoded(params.workload)) as out:
        encode.write_latents(distributed.from_main(out), made, data, bar)
        autoencoder.save(made, out)
        if (texts := texts_of(params)) is not None:
            texts.write_rows(params, data, out)
        decided = read_provenance(paths.autoencoder(params.workload)).params
        if params.reads_text:
            decided |= params.values("text")
        dataset.write_encoded(out, data, decided)


if __name__ == "__main__":
    run(main, processes=lambda params: params.autoencoder.processes)
