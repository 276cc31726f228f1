"""Image files, and many images as one."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lockstep.core.decoding import NoImage, decode
from lockstep.core.errors import LockstepError
from lockstep.core.files import whole_file

_ENLARGED = 2
_LAST_SECONDS = 2.0
# 19 frames of 16 images of 64x64 stay below 2 MB.
_BYTES_PER_PIXEL = 0.37
_MOST_COLOURS, _FEWEST_COLOURS = 256, 8


def grid(images: NDArray[np.uint8], per_row: int, gap: int = 2) -> NDArray[np.uint8]:
    """(N, H, W, 3) -> one image, `per_row` a row, white lines of `gap` pixels between."""
    count, height, width, _ = images.shape
    rows = -(-count // per_row)
    shape = (rows * (height + gap) - gap, min(count, per_row) * (width + gap) - gap, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // per_row) * (height + gap), (i % per_row) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """(H, W, 3) bytes as a PNG, there whole or not at all; the folder is made if need be."""
    with whole_file(path) as part:
        Image.fromarray(image).save(part)


def write_animation(path: Path, frames: NDArray[np.uint8], seconds: float) -> None:
    """(F, H, W, 3) bytes from noise to clear as a GIF that loops, twice as wide and high.

    The frames before the last take `seconds` together; the last one stays for two more. It has up
    to 256 colours. Each one before it has as many as the one after it, or fewer, down to 8, until
    a pixel takes 0.37 bytes: noise cannot be compressed, but looks the same in few colours.
    """
    colours = _MOST_COLOURS
    reduced: list[Image.Image] = []
    for frame in frames[::-1]:
        image = _in_colours(frame, colours)
        bound = _BYTES_PER_PIXEL * image.width * image.height
        while reduced and colours > _FEWEST_COLOURS and _bytes(image) > bound:
            colours = max(_FEWEST_COLOURS, colours * 3 // 4)
            image = _in_colours(frame, colours)
        reduced.append(image)
    last, *before = reduced
    # The format counts in hundredths of a second; fewer than two of them are not kept to.
    each = 10 * max(2, round(100 * seconds / max(1, len(before))))
    first, *others = [*reversed(before), last]
    with whole_file(path) as part:
        first.save(
            part,
            save_all=True,
            append_images=others,
            duration=[each] * len(before) + [round(1000 * _LAST_SECONDS)],
            loop=0,
            optimize=False,
        )


def _in_colours(frame: NDArray[np.uint8], colours: int) -> Image.Image:
    """(H, W, 3) bytes in a palette of their own, enlarged."""
    # 32 shades a channel tell as much, and the palette is found in an eighth of the time.
    coarse = (frame // 8 * np.uint16(255) // 31).astype(np.uint8)
    image = Image.fromarray(coarse).quantize(
        colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    size = (image.width * _ENLARGED, image.height * _ENLARGED)
    return image.resize(size, Image.Resampling.NEAREST)


def _bytes(image: Image.Image) -> int:
    """The size of the file that has this image alone."""
    file = BytesIO()
    image.save(file, "GIF", optimize=False)
    return file.tell()


def read_images(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """(N, H, W, 3) bytes from files of one size. Raises `LockstepError` naming a bad file."""
    images = [read_rgb(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise LockstepError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels, while {paths[0]} has "
                f"{images[0].shape[1]}x{images[0].shape[0]}; they must agree"
            )
    return np.stack(images)


def read_rgb(path: Path, size: int | None = None) -> NDArray[np.uint8]:
    """One file as (H, W, 3) bytes, resized straight to `size` x `size` (bilinear) if given.

    Raises `LockstepError` if the file is missing, truncated or no image.
    """
    return rgb_of(path, path, size)


def rgb_of(source: Path | bytes, name: Path, size: int | None = None) -> NDArray[np.uint8]:
    """The same of a file or its bytes; `name` is what an error calls it."""
    try:
        rgb = decode(source).image
    except (NoImage, OSError, ValueError) as error:  # ValueError: a name that cannot be
        raise LockstepError(f"{name}: not a readable image ({error})") from None
    if size is not None and rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb)
