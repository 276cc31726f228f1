"""The sources that the project draws itself, and how well they were merged."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lockstep.core import hashing
from lockstep.core.code import digest_of_code
from lockstep.sources.folders.decide import KEPT
from lockstep.sources.folders.merge import Merged
from lockstep.sources.folders.unpack import Source
from lockstep.sources.registry import Progress
from lockstep.synthetic.heads import ARCHIVES, files, write

SYNTHETIC = "synthetic"
"""Stands in `source.paths` for both archives."""


@dataclass(frozen=True)
class Heads:
    """Two archives with so many different heads of the collection `seed`."""

    count: int
    seed: int

    def sources(self, folder: Path, processes: int, progress: Progress) -> list[Source]:
        """The archives, drawn into a folder in `folder` unless they are there already."""
        code = digest_of_code("lockstep.synthetic.heads")
        libraries = {name: version(name) for name in ("opencv-python-headless", "numpy")}
        own = folder / hashing.digest_of([self.count, self.seed, code, libraries])
        if not all((own / name).exists() for name in ARCHIVES):
            write(own, self.count, self.seed, processes, progress)
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
