"""NumPy files on a disk that may be full: an error that says so, in time."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lockstep.core.files import UNSUPPORTED


def mapped_array(
    path: Path, dtype: DTypeLike, shape: tuple[int, ...]
) -> np.memmap[Any, np.dtype[Any]]:
    """A new .npy file as an array to be filled, its room on the disk reserved.

    Without that the system kills the process (SIGBUS) at the first page for which there is none.
    Raises `OSError` if there is not enough.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        except AttributeError:  # macOS
            pass
    return array


def save_array(path: Path, array: NDArray[Any]) -> None:
    """As `np.save`, whose `OSError` of a disk that fills up has neither a number nor a reason."""
    file = BytesIO()
    np.save(file, array)
    path.write_bytes(file.getbuffer())
