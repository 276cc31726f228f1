"""The sources that the project draws itself, and how well they were merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lockstep.collect.folders.decide import KEPT
from lockstep.collect.folders.merge import Merged
from lockstep.collect.folders.unpack import Source
from lockstep.standins.heads import ARCHIVES, files, write

DRAWN = "drawn"
"""Stands in `merge.sources` for both archives."""

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def sources(
    folder: Path, count: int, seed: int, processes: int, progress: Progress
) -> list[Source]:
    """The two archives, drawn into `folder` unless they are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / name).exists() for name in ARCHIVES):
        write(folder, count, seed, processes, progress)
    return [Source(f"{DRAWN}/{name}", folder / name) for name in ARCHIVES]


def precision_and_recall(merged: Merged, count: int, seed: int) -> dict[str, float]:
    """Of the kept pictures, where all of them come from the drawn archives.

    Precision is the share of kept pictures that are right: each head counts once, however many
    copies of it there are, and a picture of clothes alone, which no rule finds, is wrong until a
    person excludes it. Recall is the share of heads that are there. Files that were excluded are
    no part of it.
    """
    heads = {(f"{DRAWN}/{file.archive}", file.path): file.head for file in files(count, seed)}
    wanted, right, kept = set(), set(), 0
    for row, decision in zip(merged.rows, merged.decisions, strict=True):
        head = heads[row.source, row.path]
        if not row.is_excluded:
            wanted.add(head)
        if decision.what == KEPT:
            kept += 1
            right.add(head)
    wanted.discard(None)
    right.discard(None)
    return {
        "precision": len(right) / kept if kept else 0.0,
        "recall": len(right & wanted) / len(wanted) if wanted else 0.0,
    }
