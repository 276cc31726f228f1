"""The encoding of a data set as a program: `encode_tiny.py ROOT`, under torchrun.

It encodes ROOT/data with the autoencoder in ROOT/autoencoder into ROOT/shared.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent / "src")]

from lockstep.core import distributed  # noqa: E402
from lockstep.data import encode  # noqa: E402
from lockstep.data.dataset import open_dataset  # noqa: E402
from lockstep.models import autoencoder  # noqa: E402

if __name__ == "__main__":
    root = Path(sys.argv[1])
    with distributed.group():
        assert distributed.size() == 2
        encode.write_latents(
            root / "shared",
            autoencoder.load(root / "autoencoder"),
            open_dataset(root / "data"),
            lambda batches, _: batches,
        )
