"""What generated images are compared with, as a network sees it: made once, kept as a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.core.formats import ENDINGS, is_hidden
from lockstep.data.dataset import Dataset
from lockstep.evaluation.frechet import Moments, Normal
from lockstep.evaluation.rows import ImageFiles, Rows, SplitImages
from lockstep.evaluation.space import Space

# Features that are kept, beside the moments of all: for kernel distances and copies.
KEPT = 100_000


@dataclass(frozen=True)
class Statistics:
    """A set of `count` images as a network sees it; 0 where their number is not known.

    `normal` is of all their features, and `features` (N, D) are those of the first 100,000 images;
    empty where only the moments are known.
    """

    normal: Normal
    features: NDArray[np.float32]
    count: int


def statistics_of(batches: Iterable[NDArray[np.floating]]) -> Statistics:
    """From features (N, D) that come in batches, in memory that does not grow with them.

    Raises `LockstepError` if there are fewer than 2, or one is not a finite number.
    """
    moments = Moments()
    kept: list[NDArray[np.float32]] = []
    for features in batches:
        room = max(0, KEPT - moments.count)
        kept.append(features[:room].astype(np.float32))
        moments.add(features)
    normal = moments.normal()
    return Statistics(normal, np.concatenate(kept), moments.count)


def save(path: Path, statistics: Statistics) -> None:
    """An .npz; `mu` and `sigma` are called as in clean-fid's files of statistics."""
    np.savez(
        path,
        mu=statistics.normal.mean,
        sigma=statistics.normal.covariance,
        features=statistics.features,
        count=np.int64(statistics.count),
    )


def load(path: Path) -> Statistics:
    """What `save` wrote, or any .npz with `mu` and `sigma`.

    Raises
    ------
    LockstepError
        If it is missing, damaged or has no such arrays.
    """
    try:
        with np.load(path) as file:
            normal = Normal(*(np.asarray(file[name], np.float64) for name in ("mu", "sigma")))
            dimensions = len(normal.mean)
            if normal.mean.ndim != 1 or normal.covariance.shape != (dimensions, dimensions):
                raise ValueError("mu and sigma do not fit each other")
            if not (np.isfinite(normal.mean).all() and np.isfinite(normal.covariance).all()):
                raise ValueError("mu or sigma has a NaN")
            features = file.get("features", np.empty((0, dimensions), np.float32))
            if features.ndim != 2 or features.shape[1] != dimensions:
                raise ValueError("features do not fit mu")
            return Statistics(normal, features, int(file.get("count", 0)))
    except Exception as error:  # Damage makes NumPy and zipfile stumble over anything.
        raise LockstepError(f"{path}: no statistics with mu and sigma ({error})") from None


def decided(params: Params) -> dict[str, Any]:
    """The values that decide the reference, by dotted name."""
    names = (
        "reference",
        "reference_sha256",
        "reference_count",
        "fid",
        "inception_sha256",
        "spaces",
        "dinov2",
        "dinov2_sha256",
        "clip",
        "clip_sha256",
    )
    values = params.values("evaluate")
    return {key: values[key] for key in (f"evaluate.{name}" for name in names)}


def check(params: Params, data: Dataset) -> None:
    """Raises `LockstepError` if `of_space` could not have its images or statistics."""
    images(params, data)
    if _is_statistics(params):
        load(_given(params))


def of_space(params: Params, data: Dataset, space: Space) -> dict[str, Statistics]:
    """What generated images are compared with in a feature space, by the name of its file.

    The file `<space>` has the reference, and `<space>_training`, if that is something else, the
    images trained on: what copies are copies of. A file of statistics belongs to Inception if
    `evaluate.fid` is true, else to the workload's own space, and the others get the images
    trained on. All processes take part. Raises `LockstepError` if what `evaluate.reference` names
    is missing, changed, empty or of another space.
    """
    training = SplitImages(data, "train", params.evaluate.reference_count)
    if params.evaluate.reference == "train":
        return {space.name: statistics_of(space.features(training))}
    statistics = {f"{space.name}_training": statistics_of(space.features(training))}
    if not _is_statistics(params):
        statistics[space.name] = statistics_of(space.features(images(params, data)))
    elif space.name not in params.evaluate.spaces and params.evaluate.fid == (
        space.frechet == "fid"
    ):
        statistics[space.name] = load(_given(params))
    else:
        statistics[space.name] = statistics.pop(f"{space.name}_training")
    return statistics


def images(params: Params, data: Dataset) -> Rows:
    """The images that generated ones are compared with: at most `evaluate.reference_count`.

    Those trained on, also where `evaluate.reference` is a file of statistics; or the validation
    images; or those of a folder, resized to the size of the data set's, evenly spread over it.

    Raises
    ------
    LockstepError
        If there is none, or the folder has changed.
    """
    count, name = params.evaluate.reference_count, params.evaluate.reference
    if name == "validation":
        held_out = SplitImages(data, "validation", count)
        if len(held_out) < 2:
            raise LockstepError(
                "evaluate.reference: validation: fewer than 2 images are held out; raise "
                "dataset.validation"
            )
        return held_out
    if name == "train" or _is_statistics(params):
        return SplitImages(data, "train", count)
    folder = _given(params)
    named = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    found = sorted(
        path for path in named if path.is_file() and not is_hidden(path.relative_to(folder))
    )
    if not found:
        raise LockstepError(f"{folder}: evaluate.reference: no images in it; name another folder")
    some = min(len(found), count or len(found))
    files = [found[i * len(found) // some] for i in range(some)]
    return ImageFiles(files, size=data.images.shape[1])


def _is_statistics(params: Params) -> bool:
    return params.evaluate.reference.endswith(".npz")


def _given(params: Params) -> Path:
    settings = params.evaluate
    return hashing.verified(settings.reference, settings.reference_sha256, "evaluate.reference")
