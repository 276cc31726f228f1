"""How right the decisions are, where the faces are annotated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from lockstep.sources.faces.decide import KEPT, Candidate
from lockstep.synthetic.portraits import Face

_OVERLAP = 0.3

Annotations = Mapping[str, Sequence[Face]]
"""The faces of each image by its SHA-256."""


def score(
    faces: Sequence[Candidate],
    decisions: Sequence[str],
    annotations: Annotations,
    excluded: AbstractSet[str] = frozenset(),
) -> dict[str, float]:
    """`precision` and `recall` of the kept faces, and what they consist of.

    A photograph counts once, however many copies of it there are: a second copy that was kept is
    wrong, a copy left out is not. The photographs in the images `excluded`, by their SHA-256, are
    not to be kept anywhere.

    `recall_<kind>` is the recall in the images of a kind, for each that there is. `kept_<why>` is
    the share of the faces unfit for that reason that were kept, 0 if all is right.
    """
    targets = _targets(annotations, excluded)
    kept = list(_kept(faces, decisions, annotations))
    known = [(sha256, face) for sha256, face in kept if face is not None]
    right = {face.identity for _, face in known if face.keep} & targets.keys()
    wanted, found = Counter(targets.values()), Counter(targets[identity] for identity in right)
    unfit = Counter(face.why for here in annotations.values() for face in here if not face.keep)
    wrong = Counter(why for _, _, why in {(s, f.identity, f.why) for s, f in known if not f.keep})
    return {
        "precision": len(right) / len(kept) if kept else 0.0,
        "recall": len(right) / len(targets) if targets else 0.0,
        **{f"recall_{kind}": found[kind] / wanted[kind] for kind in sorted(wanted)},
        **{f"kept_{why}": wrong[why] / unfit[why] for why in sorted(unfit)},
    }


def _targets(annotations: Annotations, excluded: AbstractSet[str]) -> dict[str, str]:
    """The kind of each photograph that is to be kept, by its identity."""
    targets = {
        face.identity: face.kind for known in annotations.values() for face in known if face.keep
    }
    for sha256 in excluded:
        for face in annotations.get(sha256, ()):
            targets.pop(face.identity, None)
    return targets


def _kept(
    faces: Sequence[Candidate], decisions: Sequence[str], annotations: Annotations
) -> Iterator[tuple[str, Face | None]]:
    """The image of each kept face, and which of the faces there it is, if any."""
    for face, decision in zip(faces, decisions, strict=True):
        if decision == KEPT:
            yield face.sha256, _true(face, annotations.get(face.sha256, ()))


def _true(face: Candidate, known: Sequence[Face]) -> Face | None:
    here = max(known, key=lambda true: _overlap(face.measures.box, true.box), default=None)
    if here is None or _overlap(face.measures.box, here.box) < _OVERLAP:
        return None
    return here


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = across * down
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
