"""How far the drawn pictures are from those that the generator is to be like, and how near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep import distributed, paths
from lockstep.dataset import open_dataset
from lockstep.errors import LockstepError
from lockstep.evaluation import reference, spaces
from lockstep.evaluation.frechet import frechet_distance
from lockstep.evaluation.kernel import kernel_distance
from lockstep.evaluation.neighbours import Copies, copies
from lockstep.evaluation.rows import PictureFiles, Rows, SplitPictures
from lockstep.evaluation.swd import sliced_wasserstein
from lockstep.params import Params
from lockstep.pictures import grid, write_png

# Pictures of each set that the sliced Wasserstein distance looks at: half a gigabyte.
_SLICED = 2048
_PAIRS = 8


def figures(params: Params, out: Path) -> dict[str, float]:
    """Fréchet, kernel and sliced Wasserstein distances, and the shares of copies.

    The pictures of all seeds are one set. In `out`, `copies.png` has the drawn pictures that are
    nearest to one of the training, above it. All processes take part; the first one writes, and
    only it gets the figures.

    Raises
    ------
    LockstepError
        If networks, pictures or the reference are missing or do not fit each other.
    """
    data = open_dataset(paths.dataset(params.workload))
    drawn = _drawn(params)
    found: dict[str, float] = {}
    for space in spaces.of_workload(params, data):
        theirs = reference.load(paths.reference(params.workload) / f"{space.name}.npz")
        ours = reference.see(space.features(drawn))
        if not distributed.is_main():
            continue
        found[space.frechet] = frechet_distance(ours.normal, theirs.normal)
        if len(theirs.features):
            found[f"kid_{space.name}"] = kernel_distance(ours.features, theirs.features)
        if params.evaluate.reference == "train":
            found[f"copies_{space.name}"] = copies(ours.features, theirs.features).share
        counts = {"n_generated": ours.count, "n_reference": theirs.count}
    if not distributed.is_main():
        return {}
    training = SplitPictures(data, "train")
    near = copies(drawn, training)
    write_png(out / "copies.png", _side_by_side(drawn, training, near))
    found["copies"] = near.share
    others = reference.pictures(params, data)
    count = min(len(drawn), len(others), _SLICED)
    found["swd"] = sliced_wasserstein(drawn[:count], others[:count])
    return {**found, **counts}


def _drawn(params: Params) -> Rows:
    folder = paths.samples(params.workload)
    # By number, not by name: 10 comes after 9.
    files = sorted(folder.rglob("*.png"), key=lambda path: (path.parent, len(path.name), path.name))
    if not files:
        raise LockstepError(
            f"{folder}: no pictures; `dvc repro sample@{params.workload}` draws some"
        )
    return PictureFiles(files[: params.evaluate.count])


def _side_by_side(drawn: Rows, training: Rows, near: Copies) -> NDArray[np.uint8]:
    """The drawn pictures that are nearest to one of the training, from left to right, above it."""
    shown = near.distances.argsort(kind="stable")[:_PAIRS]
    pairs = [drawn[int(i)] for i in shown] + [training[int(near.nearest[i])] for i in shown]
    return grid(np.stack(pairs), per_row=len(shown))
