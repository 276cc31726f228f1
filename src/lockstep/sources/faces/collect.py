"""From a folder of downloaded images to a folder of faces.

What is found in an image goes into a cache at once, by the hash of its file; killed and run
again, the same call looks only at images that are not there. The decisions are made at the end,
from figures alone, so that another threshold or exclusion needs no second look.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.config.schema import Ptt
from lockstep.core import hashing
from lockstep.core.code import digest_of_code
from lockstep.core.errors import LockstepError
from lockstep.core.images import grid, write_png
from lockstep.core.processes import each
from lockstep.models.dlib_faces import engine, mtcnn
from lockstep.models.dlib_faces.engine import Box
from lockstep.sources.exclude import Exclusions
from lockstep.sources.faces.decide import EXCLUDED, KEPT, Candidate, decide, reasons
from lockstep.sources.faces.detect import (
    DetectedFace,
    DetectionSettings,
    detect_in_file,
    faces_from_text,
)
from lockstep.sources.listing import MANIFEST, read_lines
from lockstep.sources.resume_cache import ResumeCache

CROPS = "crops"
"""The folder of faces that the data set is packed from: `<image>_<number>.png`."""
DECISIONS = "decisions.csv"
SHEETS = "sheets"

_ON_A_SHEET, _A_ROW = 240, 20
# The figures of a face in its row of the table, and their decimals.
_FIGURES = {
    **{"width": 1, "slope": 4, "eye_ratio": 4, "nose": 4, "sharpness": 2, "outside": 4},
    **{"cover": 2, "tint": 1, "score": 3},
}

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Image:
    """A file of the download, once, however many addresses gave it."""

    sha256: str
    path: Path
    address: str
    is_excluded: bool


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
            "pillow": version("pillow"),
        },
    }


def collect(
    downloaded: Path,
    out: Path,
    cache: ResumeCache,
    settings: DetectionSettings,
    rules: Ptt,
    exclusions: Exclusions,
    processes: int,
    progress: Progress,
) -> Collection:
    """Find, choose and cut out the faces of the images in the folder `downloaded`.

    `out` gets `crops/<image's sha256>_<number>.png` of the kept faces, `decisions.csv` with a
    row for each face, and `sheets/<decision>.png` with the first 240 of each decision but
    `excluded`. Nothing depends on the order of the manifest or the number of processes.

    Raises `LockstepError` if there is no image, one is damaged, or no face is kept.
    """
    engine.models()  # Here, where a failure can be told.
    images = _images(downloaded, exclusions)
    if not images:
        raise LockstepError(f"{downloaded / MANIFEST}: lists no image; run `dvc repro`")
    missing = {image.path: image.sha256 for image in images if cache.get(image.sha256) is None}
    # The work is another module's: what a process must import for it is little.
    work = partial(detect_in_file, settings=settings)
    for path, text in progress(each(work, missing, processes), len(missing)):
        cache.put(missing[path], text)

    faces = [
        Candidate(image.sha256, number, found.measures, image.is_excluded)
        for image in images
        for number, found in enumerate(_found(cache, image.sha256))
    ]
    decisions = decide(faces, rules)
    if KEPT not in decisions:
        counts = ", ".join(f"{name} {decisions.count(name)}" for name in reasons(decisions))
        raise LockstepError(
            f"crop: no face is kept of {len(faces)} in {len(images)} images "
            f"({counts or 'none found'}); loosen the rule in source.* that most of them break"
        )
    _write_images(out, cache, faces, decisions)
    addresses = {image.sha256: image.address for image in images}
    _write_table(out / DECISIONS, faces, decisions, addresses)
    excluded = frozenset(image.sha256 for image in images if image.is_excluded)
    return Collection(faces, decisions, excluded)


def _found(cache: ResumeCache, sha256: str) -> list[DetectedFace]:
    text = cache.get(sha256)
    assert text is not None
    return faces_from_text(text)


def _images(downloaded: Path, exclusions: Exclusions) -> list[Image]:
    """The manifest's images by their hash; excluded if any of their addresses is.

    Says on stderr which exclusions name none of them.
    """
    found: dict[str, Image] = {}
    used: set[str] = set()
    for row in read_lines(downloaded / MANIFEST):
        naming = exclusions.naming(row)
        used |= naming
        image = Image(row["sha256"], downloaded / row["file"], row["address"], bool(naming))
        before = found.get(image.sha256, image)
        found[image.sha256] = replace(
            image,
            address=min(before.address, image.address),
            is_excluded=before.is_excluded or image.is_excluded,
        )
    exclusions.tell_unused(used, "among the downloaded images")
    return [found[sha256] for sha256 in sorted(found)]


def _write_images(
    out: Path, cache: ResumeCache, faces: Sequence[Candidate], decisions: Sequence[str]
) -> None:
    """The crops and the sheets; the cache is read an image at a time."""
    (out / CROPS).mkdir()
    sheets: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in reasons(decisions)}
    decided = zip(faces, decisions, strict=True)
    for sha256, of_image in groupby(decided, key=lambda pair: pair[0].sha256):
        found = _found(cache, sha256)
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
    path: Path, faces: Sequence[Candidate], decisions: Sequence[str], addresses: Mapping[str, str]
) -> None:
    """A row for each face, with every figure and what was decided."""
    names = ("image", "address", "face", *Box._fields, *_FIGURES, "perceptual_hash", "decision")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for face, decision in zip(faces, decisions, strict=True):
            measures = face.measures
            figures = [
                f"{getattr(measures, name):.{decimals}f}" for name, decimals in _FIGURES.items()
            ]
            place = (face.sha256, addresses[face.sha256], face.number, *map(round, measures.box))
            writer.writerow([*place, *figures, measures.perceptual_hash, decision])
