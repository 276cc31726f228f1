"""How right the decisions are, where the faces are annotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from lockstep.sources.faces.decide import KEPT, Candidate
from lockstep.synthetic.portraits import Face

_OVERLAP = 0.3


def precision_and_recall(
    faces: Sequence[Candidate],
    decisions: Sequence[str],
    annotations: Mapping[str, Sequence[Face]],
    excluded: AbstractSet[str] = frozenset(),
) -> dict[str, float]:
    """Precision and recall of the kept faces.

    `annotations` has the faces of each image by its SHA-256. A photograph counts once, however
    many copies of it there are: a second copy that was kept is wrong, a copy left out is not. The
    photographs in the images `excluded`, by their SHA-256, are not to be kept anywhere.
    """
    targets = {true.identity for known in annotations.values() for true in known if true.keep}
    targets -= {true.identity for sha256 in excluded for true in annotations.get(sha256, ())}
    kept = [face for face, decision in zip(faces, decisions, strict=True) if decision == KEPT]
    right = {_identity(face, annotations) for face in kept} & targets
    return {
        "precision": len(right) / len(kept) if kept else 0.0,
        "recall": len(right) / len(targets) if targets else 0.0,
    }


def _identity(face: Candidate, annotations: Mapping[str, Sequence[Face]]) -> str | None:
    """The photograph that a kept face is of, if one of that image's faces is there."""
    here = max(
        annotations.get(face.sha256, ()),
        key=lambda true: _overlap(face.measures.box, true.box),
        default=None,
    )
    if here is None or not here.keep or _overlap(face.measures.box, here.box) < _OVERLAP:
        return None
    return here.identity


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = across * down
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
