"""Picture files, and many pictures as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lockstep.errors import LockstepError


def grid(pictures: NDArray[np.uint8], per_row: int, gap: int = 2) -> NDArray[np.uint8]:
    """(N, H, W, 3) -> one picture, `per_row` a row, white lines of `gap` pixels between."""
    count, height, width, _ = pictures.shape
    rows = -(-count // per_row)
    shape = (rows * (height + gap) - gap, min(count, per_row) * (width + gap) - gap, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = (i // per_row) * (height + gap), (i % per_row) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """(H, W, 3) bytes as a PNG; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def write_numbered(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """`0.png`, `1.png`, ... in the order given."""
    for i, picture in enumerate(pictures):
        write_png(folder / f"{i}.png", picture)


def read_pictures(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """(N, H, W, 3) bytes from files of one size. Raises `LockstepError` naming a bad file."""
    pictures = [read_rgb(path) for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise LockstepError(
                f"{path}: {picture.shape[1]}x{picture.shape[0]} pixels, while {paths[0]} has "
                f"{pictures[0].shape[1]}x{pictures[0].shape[0]}; they must agree"
            )
    return np.stack(pictures)


def read_rgb(path: Path, size: int | None = None) -> NDArray[np.uint8]:
    """One file as (H, W, 3) bytes, resized straight to `size` x `size` (bilinear) if given.

    Raises
    ------
    LockstepError
        If the file is missing, truncated or no picture.
    """
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
            if size is not None and rgb.size != (size, size):
                rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except (OSError, SyntaxError, ValueError) as error:
        raise LockstepError(f"{path}: not a readable picture ({error})") from None
