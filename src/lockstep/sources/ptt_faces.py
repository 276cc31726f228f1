"""A board's images -> the faces in them, cut out; killed, the same call goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lockstep.config.schema import Params, Ptt
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.core.lock import exclusive
from lockstep.core.processes import cores, progress
from lockstep.core.provenance import read_provenance
from lockstep.sources import exclude
from lockstep.sources.faces import collect as faces
from lockstep.sources.faces.decide import Rules
from lockstep.sources.faces.detect import Looking
from lockstep.sources.faces.known import truth_of
from lockstep.sources.faces.score import precision_and_recall
from lockstep.sources.names import CROPS
from lockstep.sources.registry import Collected, Found
from lockstep.sources.resume_cache import open_cache


def collect(params: Params, out: Path) -> Found:
    """Find, judge and cut out the faces of what was downloaded.

    Raises
    ------
    LockstepError
        If the download is damaged, or no face is kept.
    """
    settings = params.source
    assert isinstance(settings, Ptt)
    downloaded = paths.downloaded(params.workload)
    looking = Looking(
        settings.detector, settings.megapixels, settings.size, params.download.max_pixels
    )
    rules = Rules(
        min_box=settings.min_box,
        max_slope=settings.max_slope,
        eye_ratio=settings.eye_ratio,
        nose=settings.nose,
        max_outside=settings.max_outside,
        min_sharpness=settings.min_sharpness,
        duplicate_bits=settings.duplicate_bits,
    )
    exclusions = exclude.read(paths.EXCLUDE).of_downloads()
    before = read_provenance(downloaded)
    work = hashing.digest_of(faces.what_decides(looking))
    scratch = paths.scratch() / "faces"
    with (
        exclusive(scratch / f"{work}.lock", "the same faces are being looked for"),
        open_cache(scratch / work / "journal.db") as seen,
    ):
        found = faces.collect(
            downloaded,
            out,
            seen,
            looking,
            rules,
            exclusions,
            cores(),
            progress("find faces", "image"),
        )
    metrics: dict[str, float] = {"kept": found.kept, "found": len(found.faces)}
    truth = truth_of(downloaded, before.inputs["origin"])
    if truth is not None:
        metrics |= precision_and_recall(found.faces, found.decisions, truth, found.excluded)
    return Found({**before.params, **params.values("source")}, metrics)


def read(folder: Path) -> Collected:
    """`crops/<image>_<number>.png`; the faces of an image belong together.

    Raises
    ------
    LockstepError
        If there is none.
    """
    files = sorted((folder / CROPS).glob("*.png"))
    if not files:
        raise LockstepError(f"{folder / CROPS}: no faces; `dvc repro collect` cuts them out")
    return Collected(
        images=files,
        groups=[file.stem.rpartition("_")[0] for file in files],
        conditions=np.zeros((len(files), 0), np.uint8),
        mirrorable=True,
    )
