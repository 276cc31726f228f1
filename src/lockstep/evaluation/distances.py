"""How far the generated images are from those that the generator is to be like, and how near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.core import distributed, paths
from lockstep.core.errors import LockstepError
from lockstep.core.images import grid, write_png
from lockstep.data.dataset import open_dataset
from lockstep.evaluation import manifolds, reference
from lockstep.evaluation.frechet import frechet_distance, frechet_error
from lockstep.evaluation.jackknife import Estimate, of_mean
from lockstep.evaluation.kernel import kernel_distance
from lockstep.evaluation.neighbours import Memorization, authentic, memorization
from lockstep.evaluation.reference import Statistics
from lockstep.evaluation.rows import ImageFiles, Rows, SplitImages
from lockstep.evaluation.space import Space
from lockstep.evaluation.spaces import spaces_of
from lockstep.evaluation.swd import sliced_wasserstein

# Images of each set that kernel distances, precision and the like, and the sliced Wasserstein
# distance look at: all pairs of the former take a minute, the latter takes a gigabyte.
_PAIRED, _SLICED = 10_000, 2048
_SHOWN = 8


def metrics(params: Params, shown: Path) -> dict[str, float]:
    """Distances, precision and recall, and the shares of memorized images.

    The images of all seeds are one set. In `shown`, `copies.png` has the generated images that are
    nearest to one of the training, above it. All processes take part; the first one writes, and
    only it gets the metrics. Raises `LockstepError` if networks, images or the reference are
    missing or do not fit each other.
    """
    folder = paths.reference(params.workload)
    with distributed.together():
        data = open_dataset(paths.dataset(params.workload))
        generated, others = _generated(params), reference.images(params, data)
        networks = spaces_of(params, data)
        known = {path.stem: reference.load(path) for path in sorted(folder.glob("*.npz"))}
        if missing := [space.name for space in networks if space.name not in known]:
            raise LockstepError(
                f"{folder}: nothing of {missing[0]} in it; `dvc repro reference@{params.workload}`"
            )
    found: dict[str, float] = {}
    for space in networks:
        ours, theirs = reference.statistics_of(space.features(generated)), known[space.name]
        if distributed.is_main():
            training = known.get(f"{space.name}_training", theirs)
            found |= in_space(space, ours, theirs, training, params.evaluate.neighbours)
    if not distributed.is_main():
        return {}
    trained_on = SplitImages(data, "train")
    near = memorization(generated, trained_on, mirrored=data.mirrorable)
    write_png(shown / "copies.png", _side_by_side(generated, trained_on, near))
    count = min(len(generated), len(others), _SLICED)
    return {
        **found,
        **of_mean(near.copied).named("copies"),
        **sliced_wasserstein(generated[:count], others[:count]).named("swd"),
        "n_generated": len(generated),
        "n_reference": known[networks[0].name].count,
    }


def in_space(
    space: Space, ours: Statistics, theirs: Statistics, training: Statistics, neighbours: int
) -> dict[str, float]:
    """The metrics in one space of features, by name, each with its standard error, `<name>_se`.

    Of a reference of which only mean and covariance are known there is the Fréchet distance alone;
    of sets too small for so many neighbours there are no precision and the like.
    """
    named: dict[str, Estimate] = {
        space.frechet: Estimate(
            frechet_distance(ours.normal, theirs.normal),
            frechet_error(ours.features, theirs.normal),
        )
    }
    if (real := _real_distance(theirs.features, ours.count)) is not None:
        named[f"real_{space.frechet}"] = Estimate(real, None)
    some, others = ours.features[:_PAIRED], theirs.features[:_PAIRED]
    if len(others):
        named[f"kid_{space.name}"] = kernel_distance(some, others)
        named |= {name: distance(some, others) for name, distance in space.distances.items()}
    if all(manifolds.enough(len(one), neighbours) for one in (some, others)):
        metrics = manifolds.manifold_metrics(some, others, neighbours)
        named |= {f"{name}_{space.name}": metric for name, metric in metrics.items()}
    near = memorization(ours.features, training.features)
    named[f"copies_{space.name}"] = of_mean(near.copied)
    named[f"authenticity_{space.name}"] = of_mean(authentic(near, training.features))
    return {key: value for name, one in named.items() for key, value in one.named(name).items()}


def _real_distance(features: NDArray[np.float32], count: int) -> float | None:
    """The Fréchet distance of so many of these, at random, from the rest; None: too few for it."""
    if len(features) < 2 * count:
        return None
    mixed = np.random.default_rng(0).permutation(features)
    some, rest = (reference.statistics_of([part]) for part in (mixed[:count], mixed[count:]))
    return frechet_distance(some.normal, rest.normal)


def _generated(params: Params) -> Rows:
    folder = paths.samples(params.workload)
    # By number, not by name: 10 comes after 9.
    files = sorted(folder.rglob("*.png"), key=lambda path: (path.parent, len(path.name), path.name))
    if not files:
        raise LockstepError(f"{folder}: no images; `dvc repro sample@{params.workload}` makes some")
    return ImageFiles(files[: params.evaluate.count])


def _side_by_side(generated: Rows, training: Rows, near: Memorization) -> NDArray[np.uint8]:
    """The generated images nearest to one of the training, from left to right, above it."""
    nearest = near.distances.argsort(kind="stable")[:_SHOWN]
    pairs = [generated[int(i)] for i in nearest] + [training[int(near.nearest[i])] for i in nearest]
    return grid(np.stack(pairs), per_row=len(nearest))
