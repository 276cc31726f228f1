"""What the tests of collecting images have in common."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

AGENT = "lockstep (tests)"
"""Who asks, in tests."""


def silent(items: Iterable[Any], total: int) -> Iterable[Any]:
    """A progress that nobody sees."""
    return items


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, by its path there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
