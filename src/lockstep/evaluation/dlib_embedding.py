"""dlib's face embedding as a feature space: 128 numbers that tell one person from another.

King, "High Quality Face Recognition with Deep Metric Learning", 2017. The network takes faces
cut out by their landmarks; our images are aligned already, so that the same cut is a fixed
part of them, and a generated image without clear landmarks gets its features as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.core import hashing
from lockstep.core.processes import in_order
from lockstep.models.dlib_faces import engine
from lockstep.models.dlib_faces.align import EYE_DISTANCE, EYE_LINE

DIMENSIONS = 128

# dlib's face chip, 150 x 150 with a quarter of padding: its mean face (get_face_chip_details).
_CHIP = 150
_CHIP_EYE_DISTANCE, _CHIP_EYES_X, _CHIP_EYE_LINE = 0.3503, 0.4934, 0.2444
# Faces that a process is given at a time.
_PART = 16


def description() -> dict[str, str]:
    """Which network it is: the version of dlib, and the SHA-256 of the weights.

    Raises `LockstepError` if face_recognition cannot be used.
    """
    models = engine.models()
    return {
        "evaluator.name": "dlib's face embedding",
        "evaluator.version": models.dlib.__version__,
        "evaluator.sha256": hashing.sha256(Path(models.face_recognition_model)),
    }


def by_processes(
    batches: Iterable[NDArray[np.uint8]], processes: int
) -> Iterator[NDArray[np.float64]]:
    """`embeddings` of each batch, in order; the same numbers however many processes."""
    sizes: deque[int] = deque()

    def parts() -> Iterator[NDArray[np.uint8]]:
        for batch in batches:
            sizes.append(len(batch))
            yield from (batch[start : start + _PART] for start in _starts(len(batch)))

    done = in_order(embeddings, parts(), processes)
    for first in done:  # it reads ahead: what has a result has a size
        others = len(_starts(sizes.popleft())) - 1
        yield np.concatenate([first, *islice(done, others)])


def _starts(count: int) -> range:
    """Where the parts of a batch begin; an empty one has one, empty, part."""
    return range(0, max(count, 1), _PART)


def embeddings(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, S, S, 3) aligned faces of any side -> (N, 128); two of one person are within about 0.6.

    It runs on the CPU at some 13 images a second and core. Raises `LockstepError` if
    face_recognition cannot be used.
    """
    encoder = engine.models().face_encoder
    chips = _chips(images)
    found = np.empty((len(images), DIMENSIONS), np.float64)
    for start in range(0, len(images), _PART):
        batch = [next(chips) for _ in images[start : start + _PART]]
        found[start : start + _PART] = np.array(encoder.compute_face_descriptor(batch))
    return found


def _chips(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The part of each image that dlib would have cut out, (150, 150, 3)."""
    for image in images:
        side = image.shape[0]
        scale = _CHIP_EYE_DISTANCE * _CHIP / (EYE_DISTANCE * side)
        # The middle of a pixel is half a pixel from its border, in both images.
        left = _CHIP_EYES_X * _CHIP - 0.5 * side * scale + 0.5 * (scale - 1)
        top = _CHIP_EYE_LINE * _CHIP - EYE_LINE * side * scale + 0.5 * (scale - 1)
        matrix = np.array([[scale, 0, left], [0, scale, top]])
        yield cv2.warpAffine(
            image,
            matrix,
            (_CHIP, _CHIP),
            flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
