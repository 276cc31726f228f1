"""Folders and archives of images, merged into one set; killed, the same call goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lockstep.config.schema import Params
from lockstep.config.sources import SYNTHETIC, MergeRules
from lockstep.config.sources import Merged as Settings
from lockstep.core import hashing, paths, processes
from lockstep.core.code import digest_of_code
from lockstep.core.errors import LockstepError
from lockstep.core.processes import cores
from lockstep.data.shards import listed
from lockstep.sources import exclude
from lockstep.sources.exclude import Exclusions
from lockstep.sources.folders.decide import KEPT
from lockstep.sources.folders.files import verified
from lockstep.sources.folders.merge import IMAGES, Merged, merge, what_decides
from lockstep.sources.folders.read import ReadSettings
from lockstep.sources.folders.unpack import Source
from lockstep.sources.registry import Collected, Found, Progress, said_of
from lockstep.sources.resume_cache import exclusive_cache
from lockstep.synthetic.heads import ARCHIVES, files, write


def collect(params: Params, out: Path) -> Found:
    """See `merge_folders`."""
    found, _ = merge_folders(params, out)
    return found


def merge_folders(params: Params, out: Path) -> tuple[Found, Merged]:
    """Merge into the folder `out`; see `lockstep.sources.folders.merge.merge`.

    Raises `LockstepError` if a path is missing or has another hash than params.yaml says, or no
    image is kept.
    """
    settings = params.source
    assert isinstance(settings, Settings)
    exclusions = exclude.read(paths.EXCLUDE).of_merges()
    heads = Heads(settings.synthetic_count or 0, settings.synthetic_seed or 0)
    hashes: list[str | None] = []

    def draw() -> list[Source]:
        bar = processes.progress("draw heads", "image")
        return heads.sources(_scratch() / "synthetic", cores(), bar)

    def given_sources() -> list[Source]:
        given = (settings.paths, settings.sha256, paths.home())
        sources, hashes[:] = verified_sources(*given, draw)
        return sources

    merged = merge_sources(params, out, given_sources, exclusions)
    metrics: dict[str, float] = {"kept": merged.kept, "found": len(merged.rows)}
    if settings.paths == (SYNTHETIC,):
        metrics |= heads.precision_and_recall(merged)
    return Found({**said_of(params), "source.sha256": hashes}, metrics), merged


def merge_sources(
    params: Params, out: Path, sources: Callable[[], Sequence[Source]], exclusions: Exclusions
) -> Merged:
    """Merge images by the rules of `source`; `sources` is called when no other merge is running.

    See `lockstep.sources.folders.merge.merge`.
    """
    assert isinstance(params.source, MergeRules)
    reading = ReadSettings(params.source.size, params.download.max_pixels)
    work = hashing.digest_of(what_decides(reading))
    with exclusive_cache(_scratch() / work, "the same merge is running") as cache:
        return merge(
            sources(),
            out,
            cache,
            reading,
            params.source,
            exclusions,
            params.download.max_bytes,
            cores(),
            processes.progress("merge", "file"),
        )


def _scratch() -> Path:
    return paths.scratch() / "merge"


def verified_sources(
    names: Sequence[str],
    expected: Sequence[str | None],
    home: Path,
    draw: Callable[[], Sequence[Source]],
) -> tuple[list[Source], list[str | None]]:
    """The sources in their order, and the SHA-256 of each name; None for `synthetic`.

    `names` are paths, absolute or from `home`; or `synthetic`, for which `draw` gives the sources.
    Raises `LockstepError` if a path is missing, or is not as `expected` where that is not empty.
    """
    sources: list[Source] = []
    hashes: list[str | None] = []
    for number, name in enumerate(names):
        if name == SYNTHETIC:
            sources += draw()
            hashes.append(None)
            continue
        source, digest = verified(name, (expected[number] or "") if expected else None, home)
        sources.append(source)
        hashes.append(digest)
    return sources, hashes


def read(folder: Path) -> Collected:
    """`images/<number>.png`, no two of which belong together; nothing is said of them.

    Raises `LockstepError` if there is none.
    """
    files = sorted(listed(folder / IMAGES), key=lambda file: int(file.stem))
    if not files:
        raise LockstepError(f"{folder / IMAGES}: no images; `dvc repro collect` collects them")
    return Collected(
        images=files,
        groups=[file.stem for file in files],
        conditions=np.zeros((len(files), 0), np.uint8),
        mirrorable=True,
    )


@dataclass(frozen=True)
class Heads:
    """Two archives with so many different heads of the collection `seed`."""

    count: int
    seed: int

    def sources(self, folder: Path, workers: int, progress: Progress) -> list[Source]:
        """The archives, drawn into a folder in `folder` unless they are there already."""
        code = digest_of_code("lockstep.synthetic.heads")
        libraries = {name: version(name) for name in ("opencv-python-headless", "numpy")}
        own = folder / hashing.digest_of([self.count, self.seed, code, libraries])
        if not all((own / name).exists() for name in ARCHIVES):
            write(own, self.count, self.seed, workers, progress)
        return [Source(f"{SYNTHETIC}/{name}", own / name) for name in ARCHIVES]

    def precision_and_recall(self, merged: Merged) -> dict[str, float]:
        """Of the kept images, where all of them come from these archives.

        Precision is the share of kept images that are right: each head counts once, however many
        copies of it there are, and an image of clothes alone, which no rule finds, is wrong until
        a person excludes it. Recall is the share of heads that are there. Files that were excluded
        are no part of it.
        """
        heads = {
            (f"{SYNTHETIC}/{file.archive}", file.path): file.head
            for file in files(self.count, self.seed)
        }
        expected, right, kept = set(), set(), 0
        for row, decision in zip(merged.rows, merged.decisions, strict=True):
            head = heads[row.source, row.path]
            if not row.is_excluded:
                expected.add(head)
            if decision.what == KEPT:
                kept += 1
                right.add(head)
        expected.discard(None)
        right.discard(None)
        return {
            "precision": len(right) / kept if kept else 0.0,
            "recall": len(right & expected) / len(expected) if expected else 0.0,
        }
