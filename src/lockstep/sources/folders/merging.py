"""The merge of a workload's folders and archives, with the rules of params.yaml."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lockstep.config.schema import Merged as Settings
from lockstep.config.schema import Params
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.core.lock import exclusive
from lockstep.core.processes import cores, progress
from lockstep.sources import exclude
from lockstep.sources.folders import synthetic
from lockstep.sources.folders.decide import Rules
from lockstep.sources.folders.merge import Merged, merge, what_decides
from lockstep.sources.folders.names import IMAGES
from lockstep.sources.folders.origin import verified
from lockstep.sources.folders.read import Looking
from lockstep.sources.registry import Collected, Found, said_of
from lockstep.sources.resume_cache import open_cache


def collect(params: Params, out: Path) -> tuple[Found, Merged]:
    """Merge into the folder `out`; see `lockstep.sources.folders.merge.merge`.

    Raises
    ------
    LockstepError
        If a path is missing or has another hash than params.yaml says, or no image is kept.
    """
    settings = params.source
    assert isinstance(settings, Settings)
    looking = Looking(settings.size, params.download.max_pixels)
    rules = Rules(
        min_side=settings.min_side,
        max_aspect=settings.max_aspect,
        min_contrast=settings.min_contrast,
        duplicate_bits=settings.duplicate_bits,
    )
    exclusions = exclude.read(paths.EXCLUDE).of_merges()
    scratch = paths.scratch() / "merge"
    heads = synthetic.Heads(settings.synthetic_count or 0, settings.synthetic_seed or 0)
    work = hashing.digest_of(what_decides(looking))
    with (
        exclusive(scratch / f"{work}.lock", "the same merge is running"),
        open_cache(scratch / work / "journal.db") as seen,
    ):
        sources, hashes = verified(
            settings.paths,
            settings.sha256,
            paths.home(),
            lambda: heads.sources(scratch / "synthetic", cores(), progress("draw heads", "image")),
        )
        merged = merge(
            sources,
            out,
            seen,
            looking,
            rules,
            exclusions,
            params.download.max_bytes,
            cores(),
            progress("merge", "file"),
        )
    metrics: dict[str, float] = {"kept": merged.kept, "found": len(merged.rows)}
    if settings.paths == (synthetic.SYNTHETIC,):
        metrics |= heads.precision_and_recall(merged)
    return Found({**said_of(params), "source.sha256": hashes}, metrics), merged


def read(folder: Path) -> Collected:
    """`images/<number>.png`, no two of which belong together; nothing is said of them.

    Raises
    ------
    LockstepError
        If there is none.
    """
    files = sorted((folder / IMAGES).glob("*.png"), key=lambda file: int(file.stem))
    if not files:
        raise LockstepError(f"{folder / IMAGES}: no images; `dvc repro collect` collects them")
    return Collected(
        images=files,
        groups=[file.stem for file in files],
        conditions=np.zeros((len(files), 0), np.uint8),
        mirrorable=True,
    )
