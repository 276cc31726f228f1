"""What a merge leaves: `decisions.csv` has a row for each file found, with every figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from lockstep.sources.folders.decide import Decision, Row

IMAGES = "images"
"""The folder of kept images: `1.png`, `2.png`, ..."""
DECISIONS = "decisions.csv"
SHEETS = "sheets"
_FIELDS = "source,path,sha256,width,height,contrast,perceptual_hash,decision,number,why"


def write(path: Path, rows: Sequence[Row], decisions: Sequence[Decision]) -> None:
    """Write the table, in the order of `rows`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"{_FIELDS}\n")
        writer = csv.writer(file, lineterminator="\n")
        for row, decision in zip(rows, decisions, strict=True):
            m = row.measures
            figures = ["", "", "", ""]
            if m is not None:
                figures = [str(m.width), str(m.height), f"{m.contrast:.2f}", m.perceptual_hash]
            number = "" if decision.number is None else decision.number
            cells = [row.source, row.path, row.sha256, *figures, decision.what, number, row.why]
            writer.writerow(cells)
