"""From image files to a folder of faces.

What is found in an image goes into a cache at once, by the hash of its file; killed and run
again, the same call looks only at images that are not there. The decisions are made at the end,
from figures alone, so that another threshold (but `min_box`) or exclusion needs no second look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.config.sources import Faces
from lockstep.core import hashing, paths
from lockstep.core.code import digest_of_code
from lockstep.core.decoding import LIBRARIES
from lockstep.core.errors import LockstepError
from lockstep.core.files import Cell, write_csv
from lockstep.core.images import grid, write_png
from lockstep.core.processes import each
from lockstep.data.shards import listed
from lockstep.models.dlib_faces import engine, mtcnn
from lockstep.models.dlib_faces.engine import Box
from lockstep.sources.faces.decide import COPY, EXCLUDED, FACELESS, KEPT, Candidate, decide, reasons
from lockstep.sources.faces.detect import (
    DetectedFace,
    DetectionSettings,
    detect_in_file,
    faces_from_text,
)
from lockstep.sources.outcomes import DECISIONS
from lockstep.sources.registry import Collected
from lockstep.sources.resume_cache import ResumeCache, exclusive_cache

CROPS = "crops"
"""The folder of faces that the data set is packed from: `<image>_<number>.png`."""
SHEETS = "sheets"

_ON_A_SHEET, _A_ROW = 240, 20
# The figures of a face in its row of the table, and their decimals.
_FIGURES = {
    **{"width": 1, "slope": 4, "eye_ratio": 4, "nose": 4, "sharpness": 2, "outside": 4},
    **{"cover": 2, "tint": 1, "score": 3},
}


File = TypeVar("File", Path, bytes)


@dataclass(frozen=True)
class Image:
    """An image once, however many addresses or files there are of it.

    `address` is where it is from: an address, or `source:path`.
    """

    sha256: str
    address: str
    is_excluded: bool


@dataclass(frozen=True, order=True)
class Faceless:
    """A row of the table for what has no face, with the decision and further words on it."""

    address: str
    sha256: str
    decision: str
    why: str = ""


@dataclass(frozen=True)
class Collection:
    """The faces found, in the order of their images' hashes, and what was decided on each.

    `excluded` has the hashes of the images that were taken out, those without a face too.
    """

    faces: list[Candidate]
    decisions: list[str]
    excluded: frozenset[str]

    @property
    def kept(self) -> int:
        """How many faces were kept."""
        return self.decisions.count(KEPT)


def what_decides(settings: DetectionSettings) -> dict[str, Any]:
    """All that decides what is found in an image: settings, code, libraries, models."""
    models = engine.models()
    paths = map(Path, (models.predictor_68_point_model, models.cnn_face_detection_model))
    return {
        **asdict(settings),
        "code": digest_of_code("lockstep.sources.faces.detect"),
        "models": {path.name: hashing.sha256(path) for path in paths},
        "mtcnn": mtcnn.identity() if settings.detector == "mtcnn" else None,
        "versions": {
            "dlib": models.dlib.__version__,
            "opencv": cv2.__version__,
            "numpy": np.__version__,
            **LIBRARIES,
        },
    }


@contextmanager
def cache_of(settings: DetectionSettings) -> Iterator[ResumeCache]:
    """What was found in images with these settings; no other process has it meanwhile."""
    folder = paths.scratch() / "faces" / hashing.digest_of(what_decides(settings))
    with exclusive_cache(folder, "the same faces are being looked for") as cache:
        yield cache


def detect(
    files: Iterable[tuple[str, File]],
    cache: ResumeCache,
    settings: DetectionSettings,
    processes: int,
) -> Iterator[tuple[str, File, str]]:
    """Find the faces in files, and put them into the cache.

    A file is the SHA-256 of its bytes, and these or their path. Gives both, and why it is no image
    if it is none; of these the cache gets nothing.
    """
    engine.models()  # Here, where a failure can be told.
    # The work is another module's: what a process must import for it is little.
    work = partial(detect_in_file, settings=settings)
    for (sha256, file), text in each(work, files, processes):
        _, broken = faces_from_text(text)
        if not broken:
            cache.put(sha256, text)
        yield sha256, file, broken


def choose(
    images: Sequence[Image],
    unread: Sequence[Faceless],
    out: Path,
    cache: ResumeCache,
    rules: Faces,
) -> Collection:
    """Choose and cut out the faces of images that were searched before.

    `out` gets `crops/<image's sha256>_<number>.png` of the kept faces, `decisions.csv` with a
    row for each face, each image without one and each file in `unread`, and `sheets/<decision>.png`
    with the first 240 faces of each decision but `excluded`. Nothing depends on the order of the
    images. Raises `LockstepError` if no face is kept.
    """
    faces: list[Candidate] = []
    faceless = list(unread)
    for image in sorted(images, key=lambda image: image.sha256):
        found, _ = _found(cache, image.sha256)
        for number, face in enumerate(found):
            faces.append(Candidate(image.sha256, number, face.measures, image.is_excluded))
        if not found:
            what = EXCLUDED if image.is_excluded else FACELESS
            faceless.append(Faceless(image.address, image.sha256, what))
    decisions = decide(faces, rules)
    if KEPT not in decisions:
        raise LockstepError(_nothing_kept(len(images), decisions, unread))
    _write_images(out, cache, faces, decisions)
    addresses = {image.sha256: image.address for image in images}
    _write_table(out / DECISIONS, faces, decisions, addresses, sorted(faceless))
    excluded = frozenset(image.sha256 for image in images if image.is_excluded)
    return Collection(faces, decisions, excluded)


def read(folder: Path) -> Collected:
    """`crops/<image>_<number>.png`; the faces of an image belong together.

    Raises `LockstepError` if there is none.
    """
    files = sorted(listed(folder / CROPS))
    if not files:
        raise LockstepError(f"{folder / CROPS}: no faces; `dvc repro collect` cuts them out")
    return Collected(
        images=files,
        groups=[file.stem.rpartition("_")[0] for file in files],
        conditions=np.zeros((len(files), 0), np.uint8),
        mirrorable=True,
    )


def _nothing_kept(images: int, decisions: Sequence[str], unread: Sequence[Faceless]) -> str:
    """The error, which differs with what there was."""
    others = Counter(f"{row.decision}: {row.why}" for row in unread if row.decision != COPY)
    said = "".join(f"; {what}, {count} files" for what, count in others.most_common(3))
    if not images:
        return f"collect: no image to look for faces in{said}; see where the images come from"
    if not decisions:
        return (
            f"collect: no face was found in {images} images{said}; lower source.min_box, or try "
            "another source.detector"
        )
    counts = ", ".join(f"{name} {decisions.count(name)}" for name in reasons(decisions))
    return (
        f"collect: no face is kept of {len(decisions)} in {images} images ({counts}); loosen the "
        "rule in source.* that most of them break"
    )


def _found(cache: ResumeCache, sha256: str) -> tuple[list[DetectedFace], str]:
    text = cache.get(sha256)
    assert text is not None
    return faces_from_text(text)


def _write_images(
    out: Path, cache: ResumeCache, faces: Sequence[Candidate], decisions: Sequence[str]
) -> None:
    """The crops and the sheets; the cache is read an image at a time."""
    (out / CROPS).mkdir()
    sheets: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in reasons(decisions)}
    decided = zip(faces, decisions, strict=True)
    for sha256, of_image in groupby(decided, key=lambda pair: pair[0].sha256):
        found, _ = _found(cache, sha256)
        for face, decision in of_image:
            png = found[face.number].png
            if decision == KEPT:
                (out / CROPS / f"{sha256}_{face.number}.png").write_bytes(png)
            if decision != EXCLUDED and len(sheets[decision]) < _ON_A_SHEET:
                bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
                sheets[decision].append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    for name, crops in sheets.items():
        if crops:
            write_png(out / SHEETS / f"{name}.png", grid(np.stack(crops), _A_ROW))


def _write_table(
    path: Path,
    faces: Sequence[Candidate],
    decisions: Sequence[str],
    addresses: Mapping[str, str],
    faceless: Sequence[Faceless],
) -> None:
    """A row for each face, with every figure and what was decided; then what has none."""
    rows: list[dict[str, Cell]] = []
    for face, decision in zip(faces, decisions, strict=True):
        measures = face.measures
        figures = {n: f"{getattr(measures, n):.{decimals}f}" for n, decimals in _FIGURES.items()}
        box = zip(Box._fields, map(round, measures.box), strict=True)
        rows.append(
            {
                **{"image": face.sha256, "address": addresses[face.sha256], "face": face.number},
                **{**dict(box), **figures, "perceptual_hash": measures.perceptual_hash},
                **{"decision": decision, "why": ""},
            }
        )
    for row in faceless:
        own = {"image": row.sha256, "address": row.address, "decision": row.decision}
        rows.append({**own, "why": row.why})
    columns = ("image", "address", "face", *Box._fields, *_FIGURES, "perceptual_hash")
    write_csv(path, rows, (*columns, "decision", "why"))
