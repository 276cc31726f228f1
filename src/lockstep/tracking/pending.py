"""Images of trainings on their way to MLflow: files, so that none is lost if it is away."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from lockstep.core import paths
from lockstep.core.files import atomic_folder
from lockstep.core.images import write_png
from lockstep.sampling.preview import Preview

_GRID = "grid.png"
_STEPS = 256
"""As many are kept of a training, the first ones."""


def put(fingerprint: str, step: int, preview: Preview) -> None:
    """Keep the images of a step; the strips are `1.png` and up."""
    if len(steps(fingerprint)) >= _STEPS:
        return
    with atomic_folder(_folder(fingerprint) / f"{step:09d}") as folder:
        write_png(folder / _GRID, preview.grid)
        for number, strip in enumerate(preview.strips, 1):
            write_png(folder / f"{number}.png", strip)


def steps(fingerprint: str) -> dict[int, Path]:
    """The folder of each step that is kept, in their order."""
    found = sorted(_folder(fingerprint).glob("[0-9]*"))
    return {int(folder.name): folder for folder in found}


def grid(folder: Path) -> Path:
    """Of a step, by its folder."""
    return folder / _GRID


def strips(folder: Path) -> list[Path]:
    """Of a step, by its folder."""
    return [path for path in sorted(folder.glob("*.png")) if path.name != _GRID]


def remove(folder: Path) -> None:
    """Of a step, by its folder: MLflow has them."""
    shutil.rmtree(folder, ignore_errors=True)


def tidy(fingerprint: str) -> None:
    """Remove the folder of a training that puts nothing into it any more, if it is empty."""
    with suppress(OSError):
        _folder(fingerprint).rmdir()


def _folder(fingerprint: str) -> Path:
    return paths.scratch() / "mlflow" / fingerprint
