"""`decisions.csv`: a row for each face found, with every figure, and what was decided."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from lockstep.sources.faces.decide import Candidate

_FIELDS = (
    "image",
    "address",
    "face",
    "left",
    "top",
    "right",
    "bottom",
    "slope",
    "eye_ratio",
    "nose",
    "sharpness",
    "outside",
    "perceptual_hash",
    "decision",
)


def write(
    path: Path,
    faces: Sequence[Candidate],
    decisions: Sequence[str],
    addresses: Mapping[str, str],
) -> None:
    """Write the table, in the order of `faces`; `addresses` has one of each image's."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_FIELDS)
        for face, decision in zip(faces, decisions, strict=True):
            m = face.measures
            writer.writerow(
                [
                    face.sha256,
                    addresses[face.sha256],
                    face.number,
                    *(round(edge) for edge in m.box),
                    *(f"{figure:.4f}" for figure in (m.slope, m.eye_ratio, m.nose)),
                    f"{m.sharpness:.2f}",
                    f"{m.outside:.4f}",
                    m.perceptual_hash,
                    decision,
                ]
            )
