"""What tells the labels or the prompt of noisy images, to guide sampling; or that there is none."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.device import make_deterministic
from lockstep.core.files import atomic_folder, write_json
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.data.dataset import open_dataset
from lockstep.evaluation.noisy_classifier import quality
from lockstep.models import noisy_classifier
from lockstep.stage import run
from lockstep.training.noisy_classifier import make


def main(params: Params) -> None:
    make_deterministic(params.threads)
    data = open_dataset(paths.dataset(params.workload), paths.encoded(params.workload))
    made = make(params, data, progress(f"noisy classifier {params.workload}", "step"))
    with atomic_folder(paths.noisy_classifier(params.workload)) as out:
        noisy_classifier.save(made, out)
        write_provenance(out, {} if made is None else params.deciding("noisy_classifier"))
    metrics = quality(made, data)
    write_json(paths.metrics(params.workload, "noisy_classifier"), metrics)


if __name__ == "__main__":
    run(main)
