"""What the sample stage left: which seeds its images are of."""

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
