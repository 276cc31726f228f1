"""Packed images with their conditions and splits: memory-mapped, so that size costs no memory.

A packed folder has `images.npy` (N, H, W, 3) uint8, `conditions.npy` (N, C) of zeros and ones,
or (N, 1) numbers of prompts, 0 being the empty one; `split.npy` (N,) uint8 (an index into `SPLITS`)
and `dataset.json` (counts, the SHA-256 of the arrays, whether the conditions still hold of a
mirrored image, names of columns, the parameters that decided them).

Its encoded folder has `encoded.json` and, where the generator sees neither pixels nor labels, what
it sees instead: `latents.npy` (N, c, h, w) float16, and `rows.npy`, what each prompt is to the
encoder of text: word ids (P, L), or contexts (P, L, D).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.arrays import mapped_array, save_array
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json, write_json
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.core.tools import TOOLS

SPLITS = ("train", "validation", "evaluator_train", "evaluator_validation")
_ARRAYS = ("images.npy", "conditions.npy", "split.npy")
LATENTS = "latents.npy"
"""The latents in an encoded folder, where pixels are not what is diffused."""
_ENCODED = (LATENTS, "rows.npy", *TOOLS)


@dataclass(frozen=True)
class Dataset:
    """An open packed folder. `images` stays on disk; index it to read.

    `mirrorable` says whether the conditions still hold of a mirrored image. `latents` and `rows`
    are there only where the folder was opened with its encoded one and that has them.
    """

    folder: Path
    images: NDArray[np.uint8]
    conditions: NDArray[np.integer]
    split: NDArray[np.uint8]
    digest: str
    mirrorable: bool
    names: list[str]
    params: dict[str, Any]
    stamp: tuple[Any, ...]
    encoded: Path | None = None
    latents: NDArray[np.float16] | None = None
    rows: NDArray[np.generic] | None = None

    @property
    def seen(self) -> NDArray[np.generic]:
        """What the generator sees: images as bytes (N, H, W, 3), or latents (N, c, h, w)."""
        return self.images if self.latents is None else self.latents

    @property
    def reduction(self) -> int:
        """How much smaller than images that is, in height and width."""
        return 1 if self.latents is None else self.images.shape[1] // self.latents.shape[2]

    def conditions_of(self, positions: NDArray[np.int64]) -> NDArray[np.generic]:
        """What is said of some images, as the generator reads it.

        Labels (B, C), or rows of prompts: word ids (B, L) or contexts (B, L, D).
        """
        found = self.conditions[positions]
        return found if self.rows is None else self.rows[found[:, 0]]

    def indices(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images, in ascending order."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def verify(self) -> None:
        """Raises `LockstepError` if the arrays are not those that were packed (reads them all)."""
        if _digest(self.folder, self.encoded) == self.digest:
            return
        if self.encoded is None or _digest(self.folder) != read_json(_about(self.folder))["digest"]:
            raise LockstepError(
                f"{self.folder}: its arrays are not those that were packed; `dvc repro` packs anew"
            )
        raise LockstepError(
            f"{self.encoded}: its files are not those that were made of {self.folder}; `dvc repro` "
            "makes them anew"
        )

    def check_unchanged(self) -> None:
        """Raises `LockstepError` if the folder was written to since it was opened."""
        if _stamp(self.folder, self.encoded) != self.stamp:
            raise LockstepError(
                f"{self.folder}: changed while it was read; `dvc repro` begins again with what is "
                "there now"
            )


def split_of_groups(
    groups: Sequence[str], *, validation: float, evaluator: float, seed: int
) -> NDArray[np.uint8]:
    """One split for each group (a scene), so that no group is in two.

    A group's place comes from a hash of (seed, its name): neither the order nor the other groups
    matter. `validation` and `evaluator` are shares of the groups in [0, 1); a tenth of the latter's
    is held out to measure it.
    """
    bounds = np.cumsum([validation, evaluator * 0.1, evaluator * 0.9])
    held_out = ("validation", "evaluator_validation", "evaluator_train")
    codes = {}
    for group in set(groups):
        digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        below = np.flatnonzero(place < bounds)
        codes[group] = SPLITS.index(held_out[below[0]] if len(below) else "train")
    return np.array([codes[group] for group in groups], np.uint8)


def check_classes(
    conditions: NDArray[np.integer], split: NDArray[np.uint8], names: Sequence[str]
) -> None:
    """Raise `LockstepError` if a class (a column of `conditions`) has no image to learn from."""
    for place in ("train", "evaluator_train"):
        own = conditions[split == SPLITS.index(place)]
        for name, count in zip(names, own.sum(0), strict=True):
            if len(own) and count == 0:
                raise LockstepError(
                    f"dataset: no image of the class {name!r} is in the split {place}; add images "
                    "of it, or set another dataset.seed"
                )


def pack(
    out: Path,
    images: Iterable[NDArray[np.uint8]],
    conditions: NDArray[np.integer],
    split: NDArray[np.uint8],
    params: dict[str, Any],
    *,
    mirrorable: bool,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a packed folder from a stream of (H, W, 3) images; gives `dataset.json`.

    `params` are the values that decided the data, and `mirrorable` says whether the conditions
    still hold of a mirrored image. Raises `LockstepError` if the images differ in size, or none is
    left to train on.
    """
    count = len(conditions)
    stream = iter(images)
    if (first := next(stream, None)) is None:
        raise LockstepError("dataset: no images were collected; collect some")
    packed = mapped_array(out / "images.npy", np.uint8, (count, *first.shape))
    for slot, image in zip(packed, chain([first], stream), strict=True):
        if image.shape != first.shape:
            raise LockstepError(f"dataset: images of {image.shape} and {first.shape} pixels")
        slot[:] = image
    packed.flush()
    save_array(out / "conditions.npy", conditions)
    save_array(out / "split.npy", split)

    counts = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    if counts["train"] == 0:
        raise LockstepError("dataset: no image is left to train on; collect more")
    about = {"digest": _digest(out), "mirrorable": mirrorable, "names": list(names)}
    summary = {"images": count, **counts, **about}
    write_json(_about(out), summary)
    write_provenance(out, params)
    return summary


def write_encoded(out: Path, data: Dataset, params: dict[str, Any]) -> None:
    """Write into the encoded folder what is in it, and what decided it: `params`.

    The latents, the rows of prompts, the tokeniser and the autoencoder are there already, if there
    are any.
    """
    if data.names:
        write_json(out / "names.json", {name: i for i, name in enumerate(data.names)})
    write_json(out / "encoded.json", {"digest": _digest(data.folder, out)})
    write_provenance(out, {**data.params, **params})


def _about(folder: Path) -> Path:
    return folder / "dataset.json"


def _files(folder: Path, encoded: Path | None) -> list[Path]:
    more = [] if encoded is None else [encoded / name for name in _ENCODED]
    return [*(folder / name for name in _ARRAYS), *(path for path in more if path.exists())]


def _digest(folder: Path, encoded: Path | None = None) -> str:
    total = hashlib.sha256()
    for path in _files(folder, encoded):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def open_dataset(folder: Path, encoded: Path | None = None) -> Dataset:
    """Map a packed folder, and what it is encoded as if that is given.

    Raises `LockstepError` if something is missing or incomplete.
    """
    try:
        stamp = _stamp(folder, encoded)
        arrays = {
            path.stem: np.load(path, mmap_mode="r")
            for path in _files(folder, encoded)
            if path.suffix == ".npy"
        }
    except (OSError, ValueError) as error:
        raise LockstepError(f"{folder}: not a whole data set ({error}); `dvc repro`") from None
    summary = read_json(_about(folder))
    about = {key: summary[key] for key in ("digest", "mirrorable", "names")}
    if encoded is not None:
        about |= read_json(encoded / "encoded.json")
    about["params"] = read_provenance(folder if encoded is None else encoded).params
    return Dataset(folder=folder, encoded=encoded, **arrays, **about, stamp=stamp)


def _stamp(folder: Path, encoded: Path | None) -> tuple[Any, ...]:
    """What changes when somebody writes to the arrays."""
    files = [path.stat() for path in _files(folder, encoded)]
    return tuple((file.st_ino, file.st_size, file.st_mtime_ns) for file in files)
