"""Which face embedding is installed."""

from __future__ import annotations

from pathlib import Path

from lockstep.core import hashing
from lockstep.models.dlib_faces import engine


def description() -> dict[str, str]:
    """Which network it is: the version of dlib, and the SHA-256 of the weights.

    Raises
    ------
    LockstepError
        If face_recognition cannot be used.
    """
    models = engine.models()
    return {
        "judge.name": "dlib's face embedding",
        "judge.version": models.dlib.__version__,
        "judge.sha256": hashing.sha256(Path(models.face_recognition_model)),
    }
