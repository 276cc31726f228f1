"""The code as a part of what a piece of work is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lockstep

_ROOT = Path(lockstep.__file__).parent


def digest_of_code(*names: str) -> str:
    """SHA-256 of source files, or of all in a folder, named from the `lockstep` folder."""
    total = hashlib.sha256()
    for name in names:
        path = _ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(f"{file.relative_to(_ROOT).as_posix()}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
