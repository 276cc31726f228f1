"""No condition: images like those trained on, whatever they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError
from lockstep.models.conditions import Conditions
from lockstep.sampling.targets import SHOWN, STRIPS, ImageSet, Targets


def targets(params: Params) -> Targets:
    """`sample.count` images, and strips of the first of them."""
    count = params.sample.count
    files = [f"gen_{number:05d}.png" for number in range(count)]
    images = ImageSet("images", Conditions.none(count), files, shown=SHOWN)
    return Targets((images,), strips=images.conditions[:STRIPS], exactly=False)


def read(folder: Path, texts: Sequence[str | None]) -> Conditions:
    """Nothing can be asked for. Raises `LockstepError` if something is."""
    for text in texts:
        if text is not None:
            raise LockstepError(f"{folder}: takes no condition; leave {text!r} out")
    return Conditions.none(len(texts))


def warnings(folder: Path, text: str | None) -> list[str]:
    """None."""
    return []
