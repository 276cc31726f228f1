"""From folders and archives to a folder of numbered images.

What is read of a file goes into a cache at once, by its hash; killed and run again, the same call
reads the sources again, but decodes only what is not there. The decisions are made at the end, from
figures alone, so that another threshold or exclusion decodes nothing again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.config.sources import MergeRules
from lockstep.core.code import digest_of_code
from lockstep.core.decoding import LIBRARIES
from lockstep.core.errors import LockstepError
from lockstep.core.files import Cell, write_csv
from lockstep.core.images import grid, write_png
from lockstep.core.processes import each
from lockstep.sources.exclude import Exclusions
from lockstep.sources.folders.decide import (
    DUPLICATE,
    EXCLUDED,
    KEPT,
    Decision,
    Decisions,
    Row,
    decide,
)
from lockstep.sources.folders.files import distinct
from lockstep.sources.folders.read import Measures, ReadSettings, from_text, read_batch
from lockstep.sources.folders.table import FileTable
from lockstep.sources.folders.unpack import Source
from lockstep.sources.outcomes import DECISIONS
from lockstep.sources.registry import Progress
from lockstep.sources.resume_cache import ResumeCache

IMAGES = "images"
"""The folder of kept images: `1.png`, `2.png`, ..."""
_ON_A_SHEET, _A_ROW = 240, 20
_BATCH_FILES, _BATCH_BYTES = 32, 2**22

Batch = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Rows:
    """The files of a table in their order, read from it anew each time."""

    table: FileTable
    exclusions: Exclusions

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Row]:
        for file, measures, broken in self.table:
            place = (file.rank, file.source, file.path, file.sha256)
            is_excluded = not self.exclusions.entries.isdisjoint(file.names)
            yield Row(*place, measures, file.refused or broken, is_excluded)


@dataclass(frozen=True)
class Merged:
    """The files found, by source and path, and what was decided on each."""

    rows: Rows
    decisions: Decisions

    @property
    def kept(self) -> int:
        return self.decisions.counts().get(KEPT, 0)


def what_decides(reading: ReadSettings) -> dict[str, Any]:
    """All that decides what is read of a file: settings, code, libraries."""
    libraries = {"opencv": cv2.__version__, "numpy": np.__version__, **LIBRARIES}
    code = digest_of_code("lockstep.sources.folders.read")
    return {**asdict(reading), "code": code, "versions": libraries}


def merge(
    sources: Sequence[Source],
    out: Path,
    cache: ResumeCache,
    reading: ReadSettings,
    rules: MergeRules,
    exclusions: Exclusions,
    max_bytes: int,
    processes: int,
    progress: Progress,
) -> Merged:
    """Merge the images of all sources into the folder `out`.

    It gets `images/1.png`, `2.png`, ..., numbered by source and path, `decisions.csv` with a row
    for each file found, and `sheets/<decision>.png` with the first 240 images of each decision but
    `excluded`; beside each duplicate stands the image that was kept. Nothing depends on the order
    in which a folder or an archive lists its files, or on the number of processes. Says on stderr
    which exclusions name none of the files. Raises `LockstepError` if a source cannot be read, or
    no image is kept.
    """
    table = FileTable()

    def unseen() -> Iterator[tuple[str, bytes]]:
        for sha256, data in distinct(sources, max_bytes, table, progress):
            text = cache.get(sha256)
            if text is None:
                yield sha256, data
            else:
                table.put(sha256, *_figures(text))

    # The work is another module's: what a process must import for it is little.
    work = partial(read_batch, settings=reading)
    for batch, texts in each(work, _batches(unseen()), processes):
        for (sha256, _), text in zip(batch, texts, strict=True):
            cache.put(sha256, text)
            table.put(sha256, *_figures(text))

    used = {name for file, _, _ in table for name in exclusions.entries & file.names}
    exclusions.tell_unused(used, "among the merged files")
    rows = Rows(table, exclusions)
    decisions = decide(rows, rules)
    merged = Merged(rows, decisions)
    if not merged.kept:
        listed = ", ".join(f"{name} {count}" for name, count in decisions.counts().items())
        raise LockstepError(
            f"collect: no image is kept of {len(rows)} files ({listed or 'the sources are empty'})"
            "; see where they come from, and the rule in source.* that most of them break"
        )
    _write_images(out, cache, rows, decisions)
    write_csv(out / DECISIONS, map(_line, rows, decisions))
    return merged


def _batches(files: Iterable[tuple[str, bytes]]) -> Iterator[Batch]:
    """Files by the dozen: a message to another process costs as much as a small image."""
    batch: Batch = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file[1])
        if len(batch) == _BATCH_FILES or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _figures(text: str) -> tuple[Measures | None, str]:
    image = from_text(text)
    return image.measures, image.broken


def _png(cache: ResumeCache, row: Row) -> bytes:
    text = cache.get(row.sha256)
    assert text is not None
    return from_text(text).png


def _write_images(out: Path, cache: ResumeCache, rows: Rows, decisions: Decisions) -> None:
    (out / IMAGES).mkdir()
    for row, decision in zip(rows, decisions, strict=True):
        if decision.what == KEPT:
            (out / IMAGES / f"{decision.number}.png").write_bytes(_png(cache, row))
    for name in sorted(decisions.counts().keys() - {EXCLUDED}):
        images: list[NDArray[np.uint8]] = []
        for row, decision in zip(rows, decisions, strict=True):
            if decision.what != name or row.measures is None:
                continue
            if len(images) >= _ON_A_SHEET:
                break
            images.append(_decoded(_png(cache, row)))
            if name == DUPLICATE:
                images.append(_decoded((out / IMAGES / f"{decision.number}.png").read_bytes()))
        if images:
            write_png(out / "sheets" / f"{name}.png", grid(np.stack(images), _A_ROW))


def _line(row: Row, decision: Decision) -> dict[str, Cell]:
    figures: dict[str, Cell] = {field.name: "" for field in fields(Measures)}
    if row.measures is not None:
        figures = asdict(row.measures) | {"contrast": f"{row.measures.contrast:.2f}"}
    return {
        "source": row.source,
        "path": row.path,
        "sha256": row.sha256,
        **figures,
        "decision": decision.what,
        "number": decision.number or "",
        "why": row.why,
    }


def _decoded(png: bytes) -> NDArray[np.uint8]:
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
