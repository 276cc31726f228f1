"""A board's images -> the faces in them, cut out; killed, the same call goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lockstep.config.schema import REPLICA, Params, Ptt
from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.core.processes import cores, progress
from lockstep.core.provenance import read_provenance
from lockstep.sources import exclude
from lockstep.sources.faces import collect as faces
from lockstep.sources.faces.detect import DetectionSettings
from lockstep.sources.faces.score import score
from lockstep.sources.listing import MANIFEST, read_lines
from lockstep.sources.origin import site_of
from lockstep.sources.registry import Collected, Found
from lockstep.sources.resume_cache import exclusive_cache
from lockstep.synthetic.portraits import Face, annotated_faces


def collect(params: Params, out: Path) -> Found:
    """Find, choose and cut out the faces of what was downloaded.

    Raises `LockstepError` if the download is damaged, or no face is kept.
    """
    settings = params.source
    assert isinstance(settings, Ptt)
    downloaded = paths.downloaded(params.workload)
    detection = DetectionSettings.of(settings, params.download.max_pixels)
    exclusions = exclude.read(paths.EXCLUDE).of_downloads()
    before = read_provenance(downloaded)
    scratch = paths.scratch() / "faces" / hashing.digest_of(faces.what_decides(detection))
    with exclusive_cache(scratch, "the same faces are being looked for") as cache:
        found = faces.collect(
            downloaded,
            out,
            cache,
            detection,
            settings,
            exclusions,
            cores(),
            progress("find faces", "image"),
        )
    metrics: dict[str, float] = {"kept": found.kept, "found": len(found.faces)}
    annotations = _annotations_of(downloaded, before.inputs["origin"])
    if annotations is not None:
        metrics |= score(found.faces, found.decisions, annotations, found.excluded)
    return Found({**before.params, **params.values("source")}, metrics)


def _annotations_of(downloaded: Path, origin: dict[str, Any]) -> dict[str, tuple[Face, ...]] | None:
    """The faces in each downloaded image by its SHA-256, or None for a board that is not ours."""
    if origin["source"] != REPLICA:
        return None
    site = site_of(origin)
    found = {}
    for row in read_lines(downloaded / MANIFEST):
        hosted = site.hosted(row["address"])
        # The replica shows the collection 0, whatever its own seed is.
        found[row["sha256"]] = () if hosted is None else annotated_faces(0, hosted.shows)
    return found


def read(folder: Path) -> Collected:
    """`crops/<image>_<number>.png`; the faces of an image belong together.

    Raises `LockstepError` if there is none.
    """
    files = sorted((folder / faces.CROPS).glob("*.png"))
    if not files:
        raise LockstepError(f"{folder / faces.CROPS}: no faces; `dvc repro collect` cuts them out")
    return Collected(
        images=files,
        groups=[file.stem.rpartition("_")[0] for file in files],
        conditions=np.zeros((len(files), 0), np.uint8),
        mirrorable=True,
    )
