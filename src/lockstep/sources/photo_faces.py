"""One's own photographs -> the faces in them, cut out; killed, the same call goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lockstep.config.schema import Params
from lockstep.config.sources import Faces, Photos
from lockstep.core import paths
from lockstep.core.processes import cores, progress
from lockstep.sources import exclude
from lockstep.sources.exclude import Exclusions
from lockstep.sources.faces.collect import (
    Collection,
    Faceless,
    Image,
    cache_of,
    choose,
    detect,
    read,
)
from lockstep.sources.faces.decide import COPY, EXCLUDED
from lockstep.sources.faces.detect import DetectionSettings
from lockstep.sources.folders.decide import BROKEN, REFUSED
from lockstep.sources.folders.files import distinct, verified
from lockstep.sources.folders.table import File, FileTable
from lockstep.sources.folders.unpack import Source
from lockstep.sources.registry import Found, Progress, said_of
from lockstep.sources.resume_cache import ResumeCache

__all__ = ["collect", "collect_photos", "read"]


def collect(params: Params, out: Path) -> Found:
    """Find, choose and cut out the faces of the photographs in `source.paths`.

    Raises `LockstepError` if a path is missing or has another hash than params.yaml says, or no
    face is kept.
    """
    settings = params.source
    assert isinstance(settings, Photos)
    detection = DetectionSettings.of(settings, params.download.max_pixels)
    exclusions = exclude.read(paths.EXCLUDE).of_merges()
    expected = settings.sha256 or (None,) * len(settings.paths)
    verify = [
        verified(*given, paths.home()) for given in zip(settings.paths, expected, strict=True)
    ]
    with cache_of(detection) as cache:
        found = collect_photos(
            [source for source, _ in verify],
            out,
            cache,
            detection,
            settings,
            exclusions,
            params.download.max_bytes,
            cores(),
            progress("find faces", "file"),
        )
    said = {**said_of(params), "source.sha256": [digest for _, digest in verify]}
    return Found(said, {"kept": found.kept, "found": len(found.faces)})


def collect_photos(
    sources: Sequence[Source],
    out: Path,
    cache: ResumeCache,
    detection: DetectionSettings,
    rules: Faces,
    exclusions: Exclusions,
    max_bytes: int,
    processes: int,
    progress: Progress,
) -> Collection:
    """Find, choose and cut out the faces of the images in folders and archives.

    `out` gets what `lockstep.sources.faces.collect.choose` says, and a row for each file that is
    no image, or is one again. Nothing depends on the order in which files are listed, or on the
    number of processes. Says on stderr which exclusions name none of the files. Raises
    `LockstepError` if a source cannot be read, or no face is kept.
    """
    table = FileTable()

    def unseen() -> Iterator[tuple[str, bytes]]:
        for sha256, data in distinct(sources, max_bytes, table, progress):
            if cache.get(sha256) is None:
                yield sha256, data

    looked = detect(unseen(), cache, detection, processes)
    broken = {sha256: why for sha256, _, why in looked if why}
    files = [file for file, _, _ in table]
    images, others = _sorted_out(files, broken, exclusions)
    return choose(images, others, out, cache, rules)


def _sorted_out(
    files: Sequence[File], broken: dict[str, str], exclusions: Exclusions
) -> tuple[list[Image], list[Faceless]]:
    """The images of files in their order, each once, and the other files with the reason.

    An image is excluded if any file with its bytes is.
    """
    used = exclusions.entries & {name for file in files for name in file.names}
    exclusions.tell_unused(used, "among the files of source.paths")
    excluded = {file.sha256 for file in files if file.sha256 and file.names & used}
    first: dict[str, str] = {}
    others = []
    for file in files:
        if file.names & used and (not file.sha256 or file.sha256 in broken):
            others.append(Faceless(file.place, file.sha256, EXCLUDED))
        elif not file.sha256:
            others.append(Faceless(file.place, "", REFUSED, file.refused))
        elif file.sha256 in broken:
            others.append(Faceless(file.place, file.sha256, BROKEN, broken[file.sha256]))
        elif file.sha256 in first:
            others.append(Faceless(file.place, file.sha256, COPY, first[file.sha256]))
        else:
            first[file.sha256] = file.place
    return [Image(sha256, place, sha256 in excluded) for sha256, place in first.items()], others
