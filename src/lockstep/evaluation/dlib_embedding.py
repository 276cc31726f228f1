"""dlib's face embedding as a feature space: 128 numbers that tell one person from another.

King, "High Quality Face Recognition with Deep Metric Learning", 2017. The network takes faces
cut out by their landmarks; our pictures are aligned already, so that the same cut is a fixed
part of them, and a generated picture without clear landmarks gets its features as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from lockstep.collect.faces import engine
from lockstep.collect.faces.align import EYE_DISTANCE, EYE_LINE
from lockstep.workers import cores, each

DIMENSIONS = 128

Features: TypeAlias = NDArray[np.float64]
Progress: TypeAlias = Callable[[Iterable[Any], int], Iterable[Any]]

# dlib's face chip, 150 x 150 with a quarter of padding: its mean face (get_face_chip_details).
_CHIP = 150
_CHIP_EYE_DISTANCE, _CHIP_EYES_X, _CHIP_EYE_LINE = 0.3503, 0.4934, 0.2444
_BATCH = 16


def by_all_cores(pictures: NDArray[np.uint8], progress: Progress) -> Features:
    """`embeddings`, to which each core has a process; the same numbers."""
    starts = range(0, len(pictures), _BATCH)
    batches = ((start, pictures[start : start + _BATCH]) for start in starts)
    done = each(_of_batch, batches, min(cores(), max(1, len(starts))))
    found = {start: features for (start, _), features in progress(done, len(starts))}
    return np.concatenate([np.empty((0, DIMENSIONS)), *(found[start] for start in starts)])


def _of_batch(batch: tuple[int, NDArray[np.uint8]]) -> Features:
    return embeddings(batch[1])


def embeddings(pictures: NDArray[np.uint8]) -> Features:
    """(N, S, S, 3) aligned faces of any side -> (N, 128); two of one person are within about 0.6.

    It runs on the CPU at some 13 pictures a second and core.

    Raises
    ------
    LockstepError
        If face_recognition cannot be used.
    """
    encoder = engine.models().face_encoder
    chips = _chips(pictures)
    found = np.empty((len(pictures), DIMENSIONS), np.float64)
    for start in range(0, len(pictures), _BATCH):
        batch = [next(chips) for _ in pictures[start : start + _BATCH]]
        found[start : start + _BATCH] = np.array(encoder.compute_face_descriptor(batch))
    return found


def _chips(pictures: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The part of each picture that dlib would have cut out, (150, 150, 3)."""
    for picture in pictures:
        side = picture.shape[0]
        scale = _CHIP_EYE_DISTANCE * _CHIP / (EYE_DISTANCE * side)
        # The middle of a pixel is half a pixel from its border, in both pictures.
        left = _CHIP_EYES_X * _CHIP - 0.5 * side * scale + 0.5 * (scale - 1)
        top = _CHIP_EYE_LINE * _CHIP - EYE_LINE * side * scale + 0.5 * (scale - 1)
        matrix = np.array([[scale, 0, left], [0, scale, top]])
        yield cv2.warpAffine(
            picture,
            matrix,
            (_CHIP, _CHIP),
            flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
