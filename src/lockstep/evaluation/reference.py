"""What generated pictures are compared with, as a network sees it: made once, kept as a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from lockstep import content, paths
from lockstep.dataset import Dataset
from lockstep.errors import LockstepError
from lockstep.evaluation.frechet import Moments, Normal
from lockstep.evaluation.rows import PictureFiles, Rows, SplitPictures
from lockstep.params import Params

# Features that are kept, beside the moments of all: for kernel distances and neighbours.
KEPT = 10_000
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Seen:
    """A set of pictures as a network sees it.

    Parameters
    ----------
    normal
        Mean and covariance of all their features.
    features
        (N, D) float32 of the first 10,000 pictures; empty where only the moments are known.
    count
        Pictures; 0 where it is not known.
    """

    normal: Normal
    features: NDArray[np.float32]
    count: int


def see(batches: Iterable[NDArray[np.floating]]) -> Seen:
    """From features (N, D) that come in batches, in memory that does not grow with them.

    Raises
    ------
    LockstepError
        If there are fewer than 2, or one is not a finite number.
    """
    moments = Moments()
    kept: list[NDArray[np.float32]] = []
    for features in batches:
        wanted = max(0, KEPT - moments.count)
        kept.append(features[:wanted].astype(np.float32))
        moments.add(features)
    normal = moments.normal()
    return Seen(normal, np.concatenate(kept), moments.count)


def save(path: Path, seen: Seen) -> None:
    """An .npz; `mu` and `sigma` are called as in clean-fid's files of statistics."""
    np.savez(
        path,
        mu=seen.normal.mean,
        sigma=seen.normal.covariance,
        features=seen.features,
        count=np.int64(seen.count),
    )


def load(path: Path) -> Seen:
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
            if normal.covariance.shape != (dimensions, dimensions):
                raise ValueError("mu and sigma do not fit each other")
            features = file.get("features", np.empty((0, dimensions), np.float32))
            return Seen(normal, features, int(file.get("count", 0)))
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise LockstepError(f"{path}: no statistics with mu and sigma ({error})") from None


def decided(params: Params) -> dict[str, Any]:
    """The values that decide the reference, by dotted name."""
    names = ("reference", "reference_sha256", "reference_count", "fid")
    return {f"evaluate.{name}": getattr(params.evaluate, name) for name in names}


def pictures(params: Params, data: Dataset) -> Rows:
    """The pictures that drawn ones are compared with: at most `evaluate.reference_count`.

    Those trained on, also where `evaluate.reference` is a file of statistics; or those of a folder,
    resized to the size of the data set's.

    Raises
    ------
    LockstepError
        If the folder has changed, or no picture in it.
    """
    count = params.evaluate.reference_count
    if params.evaluate.reference == "train" or _is_statistics(params):
        return SplitPictures(data, "train", count)
    folder = _given(params)
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    if not found:
        raise LockstepError(f"{folder}: evaluate.reference: no pictures in it; name another folder")
    return PictureFiles(found[:count], size=data.pictures.shape[1])


def statistics(params: Params) -> Seen | None:
    """What `evaluate.reference` says about the pictures, if it is a file of statistics.

    Raises
    ------
    LockstepError
        If the file has changed, or is no such file.
    """
    return load(_given(params)) if _is_statistics(params) else None


def _is_statistics(params: Params) -> bool:
    return params.evaluate.reference.endswith(".npz")


def _given(params: Params) -> Path:
    path = paths.home() / params.evaluate.reference
    content.verify(path, params.evaluate.reference_sha256, "evaluate.reference")
    return path
