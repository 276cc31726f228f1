"""MTCNN (Zhang et al., 2016), as facenet-pytorch has it; its wheel brings the weights."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError

# dlib's landmarks want the square that its own detector would report. In 80 photographed faces its
# side is so many times the distance from eye to eye and that from eyes to mouth together, and its
# middle so far on the way from eyes to mouth.
_WIDTH, _DOWN = 1.17, 0.48


@cache
def _model(smallest: int) -> Any:
    """The three networks on the processor, so that every machine finds the same.

    Raises `LockstepError` if the library is missing.
    """
    try:
        from facenet_pytorch import MTCNN
    except ImportError as error:
        raise LockstepError(
            f"source.detector: mtcnn is facenet-pytorch's, which cannot be imported ({error}); "
            "`pip install --no-deps facenet-pytorch`: its pins are of old versions"
        ) from None
    return MTCNN(min_face_size=smallest, keep_all=True)


def identity() -> dict[str, str]:
    """What decides what is found, beside the image: versions and a hash of the weights."""
    import torch

    networks = _model(40)
    digest = hashlib.sha256()
    for _, weights in sorted(networks.state_dict().items()):
        digest.update(weights.numpy().tobytes())
    return {
        "facenet-pytorch": version("facenet-pytorch"),
        "torch": torch.__version__,
        "mtcnn": digest.hexdigest(),
    }


def detect(rgb: NDArray[np.uint8], smallest: int) -> list[tuple[tuple[int, int, int, int], float]]:
    """The faces in an image (H, W, 3): a square around each, and how sure the network is, 0 to 1.

    The squares are (left, top, right, bottom) with the right and bottom inside, and where dlib's
    detector would see them. Faces narrower than `smallest` pixels are not looked for.
    """
    if min(rgb.shape[:2]) < smallest:
        return []  # The library fails where its pyramid has no level.
    _, scores, points = _model(smallest).detect(rgb, landmarks=True)
    if points is None:
        return []
    return [
        (_square(five), float(score))
        for five, score in zip(points.astype(np.float64), scores, strict=True)
    ]


def _square(five: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Of the five points (5, 2): the eyes, the nose, the mouth's corners."""
    eyes, mouth = five[:2].mean(0), five[3:].mean(0)
    across, down = np.hypot(*(five[1] - five[0])), np.hypot(*(mouth - eyes))
    half = _WIDTH * (across + down) / 2
    x, y = eyes + _DOWN * (mouth - eyes)
    return round(x - half), round(y - half), round(x + half) - 1, round(y + half) - 1
