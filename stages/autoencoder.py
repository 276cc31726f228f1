"""What makes latents of pictures: trained here, one that is there already, or none."""

import this_tree  # noqa: F401
from lockstep import atomic, autoencoder, paths, records
from lockstep.autoencoder import making
from lockstep.dataset import open_dataset
from lockstep.device import make_deterministic
from lockstep.params import Params
from lockstep.pictures import write_png
from lockstep.stage import progress, run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    data = open_dataset(paths.dataset(params.workload))
    made = making.make(params, data, progress(f"autoencoder {params.workload}", "step"))
    with atomic.folder(paths.autoencoder(params.workload)) as out:
        autoencoder.save(made, out)
        figures, sheet = making.measure(made, data)
        if sheet is not None:
            write_png(out / "reconstructions.png", sheet)
    records.write(paths.metrics(params.workload, "autoencoder"), figures)


if __name__ == "__main__":
    run(main)
