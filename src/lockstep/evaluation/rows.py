"""Many images as if they were one array, of which a part at a time is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lockstep.core.images import read_images, read_rgb
from lockstep.data.dataset import Dataset


class Rows(Protocol):
    """An index gives a row, a slice gives an array of rows, all of one shape."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class ImageFiles:
    """(N, H, W, 3) bytes from files of one size, or resized to `size` x `size` if given.

    Reading raises `LockstepError` naming a bad file.
    """

    paths: Sequence[Path]
    size: int | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        if not isinstance(index, slice):
            return read_rgb(self.paths[index], self.size)
        if self.size is None:
            return read_images(self.paths[index])
        return np.stack([read_rgb(path, self.size) for path in self.paths[index]])


class SplitImages:
    """(N, H, W, 3) bytes of a data set's split, in its order; at most `count` if given."""

    def __init__(self, data: Dataset, split: str, count: int | None = None) -> None:
        self._images = data.images
        self._indices = data.indices(split)[:count]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        return np.asarray(self._images[self._indices[index]])
