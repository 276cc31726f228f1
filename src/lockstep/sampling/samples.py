"""What the sample stage leaves: which seeds its images are of, and where each set is."""

from __future__ import annotations

from pathlib import Path

from lockstep.core.errors import LockstepError
from lockstep.core.provenance import FILE, read_provenance


def seeds_of(samples: Path) -> list[int]:
    """`sample.seeds` as they were when the images were generated.

    Raises
    ------
    LockstepError
        If the folder does not say so.
    """
    seeds = read_provenance(samples).params.get("sample.seeds")
    if not seeds:
        raise LockstepError(f"{samples / FILE}: names no sample.seeds; `dvc checkout` restores it")
    return list(seeds)


def of_seed(samples: Path, number: int, seed: int) -> Path:
    """The set of images of a seed: the first stands where the official evaluation looks."""
    return samples if number == 0 else samples / f"seed_{seed}"
