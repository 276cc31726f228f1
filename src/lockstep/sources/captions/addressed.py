"""Images downloaded from a table of addresses, with the sentences that it has for them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core import paths, processes
from lockstep.core.errors import LockstepError
from lockstep.core.processes import cores, in_order
from lockstep.core.provenance import read_provenance
from lockstep.data import captions
from lockstep.sources import exclude
from lockstep.sources.captions import forms
from lockstep.sources.captions.folder import bring
from lockstep.sources.captions.packing import read as read
from lockstep.sources.exclude import Exclusions
from lockstep.sources.folders.read import ReadSettings
from lockstep.sources.listing import MANIFEST, read_lines
from lockstep.sources.registry import Found


def collect(params: Params, out: Path) -> Found:
    """Bring in what was downloaded, each image by its SHA-256.

    Images of the same bytes are one image with the sentences of all their addresses. Some of the
    sentences are those that are asked for. Raises `LockstepError` if the download is damaged, or
    there is no image.
    """
    downloaded = paths.downloaded(params.workload)
    files, train = _images(downloaded, exclude.read(paths.EXCLUDE).of_downloads())
    if not files:
        raise LockstepError(
            f"{downloaded / MANIFEST}: no image is left; see exclude.txt, and failed.txt beside it"
        )
    (out / captions.IMAGES).mkdir()
    reading = ReadSettings(params.source.size, params.download.max_pixels)
    task = partial(bring, settings=reading, out=out / captions.IMAGES)
    bar = processes.progress("read images", "image")
    outcomes = bar(in_order(task, files.items(), cores()), len(files))
    for path, why in zip(files.values(), outcomes, strict=True):
        if why:  # The download stage had made sure that it is an image.
            raise LockstepError(f"{path}: {why}; `dvc checkout` restores the images")
    captions.write(out, train, forms.some_of(train))
    said = {**read_provenance(downloaded).params, **params.values("source")}
    return Found(said, {"kept": len(files)})


def _images(
    downloaded: Path, exclusions: Exclusions
) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Each image's file and sentences, by its name here; without those that are excluded.

    Says on stderr which exclusions name none of them.
    """
    files: dict[str, Path] = {}
    found: dict[str, set[str]] = {}
    excluded: set[str] = set()
    used: set[str] = set()
    for row in read_lines(downloaded / MANIFEST):
        name = f"{row['sha256']}.png"
        if naming := exclusions.naming(row):
            used |= naming
            excluded.add(name)
        files[name] = downloaded / row["file"]
        found.setdefault(name, set()).add(row["sentence"])
    exclusions.tell_unused(used, "among the downloaded images")
    kept = sorted(found.keys() - excluded)
    return {name: files[name] for name in kept}, {name: sorted(found[name]) for name in kept}
