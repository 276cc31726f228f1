"""A board's images -> the faces in them, cut out; killed, the same call goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.config.schema import REPLICA, Params
from lockstep.config.sources import Faces
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.processes import cores, progress
from lockstep.core.provenance import read_provenance
from lockstep.sources import exclude
from lockstep.sources.exclude import Exclusions
from lockstep.sources.faces.collect import (
    Collection,
    Image,
    cache_of,
    choose,
    detect,
    read,
)
from lockstep.sources.faces.detect import DetectionSettings
from lockstep.sources.faces.score import score
from lockstep.sources.listing import MANIFEST, read_lines
from lockstep.sources.origin import site_of
from lockstep.sources.registry import Found, Progress
from lockstep.sources.resume_cache import ResumeCache
from lockstep.synthetic.portraits import Face, annotated_faces

__all__ = ["collect", "collect_downloaded", "read"]


def collect(params: Params, out: Path) -> Found:
    """Find, choose and cut out the faces of what was downloaded.

    Raises `LockstepError` if the download is damaged, or no face is kept.
    """
    settings = params.source
    assert isinstance(settings, Faces)
    downloaded = paths.downloaded(params.workload)
    detection = DetectionSettings.of(settings, params.download.max_pixels)
    exclusions = exclude.read(paths.EXCLUDE).of_downloads()
    before = read_provenance(downloaded)
    with cache_of(detection) as cache:
        found = collect_downloaded(
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


def collect_downloaded(
    downloaded: Path,
    out: Path,
    cache: ResumeCache,
    detection: DetectionSettings,
    rules: Faces,
    exclusions: Exclusions,
    processes: int,
    progress: Progress,
) -> Collection:
    """Find, choose and cut out the faces of the images in the folder `downloaded`.

    `out` gets what `lockstep.sources.faces.collect.choose` says. Nothing depends on the order of
    the manifest or the number of processes. Raises `LockstepError` if there is no image, one is
    damaged, or no face is kept.
    """
    images, files = _images(downloaded, exclusions)
    if not images:
        raise LockstepError(f"{downloaded / MANIFEST}: lists no image; run `dvc repro`")
    missing = {sha256: path for sha256, path in files.items() if cache.get(sha256) is None}
    found = detect(missing.items(), cache, detection, processes)
    for _, path, broken in progress(found, len(missing)):
        if broken:  # The download stage had made sure that it is an image.
            raise LockstepError(f"{path}: {broken}; `dvc checkout` restores the images")
    return choose(images, (), out, cache, rules)


def _images(downloaded: Path, exclusions: Exclusions) -> tuple[list[Image], dict[str, Path]]:
    """The manifest's images, and their files by hash; excluded if any of their addresses is.

    Says on stderr which exclusions name none of them.
    """
    found: dict[str, Image] = {}
    files: dict[str, Path] = {}
    used: set[str] = set()
    for row in read_lines(downloaded / MANIFEST):
        naming = exclusions.naming(row)
        used |= naming
        sha256, address, is_excluded = row["sha256"], row["address"], bool(naming)
        files[sha256] = downloaded / row["file"]
        if sha256 in found:
            before = found[sha256]
            address = min(before.address, address)
            is_excluded = before.is_excluded or is_excluded
        found[sha256] = Image(sha256, address, is_excluded)
    exclusions.tell_unused(used, "among the downloaded images")
    return [found[sha256] for sha256 in sorted(found)], {
        name: files[name] for name in sorted(files)
    }


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
