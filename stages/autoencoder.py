"""What makes latents of images: trained here, one that is there already, or none."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder, write_json
from lockstep.core.images import write_png
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.data.dataset import open_dataset
from lockstep.models import autoencoder
from lockstep.stage import run
from lockstep.training.autoencoder import make, measure


def main(params: Params) -> None:
    make_deterministic(params.threads)
    data = open_dataset(paths.dataset(params.workload))
    made = make(params, data, progress(f"autoencoder {params.workload}", "step"))
    with atomic_folder(paths.autoencoder(params.workload)) as out:
        autoencoder.save(made, out)
        latent = params.autoencoder.kind != "pixels"
        write_provenance(out, params.deciding("autoencoder") if latent else {})
        metrics, sheet = measure(made, data)
        if sheet is not None:
            write_png(out / "reconstructions.png", sheet)
    write_json(paths.metrics(params.workload, "autoencoder"), metrics)


if __name__ == "__main__":
    run(main)
