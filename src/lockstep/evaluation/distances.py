"""How far the drawn pictures are from those that the generator learnt from."""

from __future__ import annotations

from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from lockstep import distributed, paths, records
from lockstep.dataset import open_dataset
from lockstep.errors import LockstepError
from lockstep.evaluation import dlib_embedding, dlib_network
from lockstep.evaluation.frechet import frechet_distance
from lockstep.evaluation.swd import sliced_wasserstein
from lockstep.params import Params
from lockstep.pictures import read_pictures
from lockstep.stage import progress


def of_faces(params: Params) -> dict[str, float]:
    """`fd_dlib` and `swd`, means over the seeds, and how many pictures they compare.

    The first process does it all: dlib takes the other cores by itself.

    Raises
    ------
    LockstepError
        If the judge is another network than the one here, or there are too few pictures.
    """
    if not distributed.is_main():
        return {}
    _check_judge(params.workload)
    data = open_dataset(paths.dataset(params.workload))
    reference = data.pictures[data.indices("train")[: params.evaluate.reference_count]]
    sets = [_drawn(params, number, seed) for number, seed in enumerate(params.evaluate.seeds)]
    everything = np.concatenate([reference, *sets])
    features = dlib_embedding.by_all_cores(everything, progress("embed faces", "batch"))
    ends = np.cumsum([len(pictures) for pictures in (reference, *sets)])
    theirs, *ours, _ = np.split(features, ends)
    count = min(len(reference), len(sets[0]))
    return {
        "fd_dlib": fmean(frechet_distance(own, theirs) for own in ours),
        "swd": fmean(sliced_wasserstein(own[:count], reference[:count]) for own in sets),
        "n_generated": len(sets[0]),
        "n_reference": len(reference),
    }


def _drawn(params: Params, number: int, seed: int) -> NDArray[np.uint8]:
    folder = paths.drawn(paths.samples(params.workload), number, seed)
    files = sorted(folder.glob("gen_*.png"))[: params.evaluate.count]
    if not files:
        raise LockstepError(
            f"{folder}: no pictures; `dvc repro sample@{params.workload}` draws some"
        )
    return read_pictures(files)


def _check_judge(workload: str) -> None:
    folder = paths.judge(workload)
    if records.read(folder / paths.JUDGE) != dlib_network.description():
        raise LockstepError(
            f"{folder}: stands for another face embedding than the one installed; `dvc repro "
            f"--force --single-item judge@{workload}`, or install the other one"
        )
