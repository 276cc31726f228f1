"""What goes with encoded data: the tools that turn what a generator draws into pictures again."""

from __future__ import annotations

import shutil
from pathlib import Path

_TOOLS = ("autoencoder.json", "autoencoder.safetensors", "tokenizer.json")


def copy_tools(source: Path, out: Path) -> None:
    """Copy the autoencoder and the tokeniser of an encoded folder, as far as it has them."""
    for name in _TOOLS:
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)
