"""Small JSON files in which a stage tells the later ones what they cannot see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lockstep import atomic
from lockstep.errors import LockstepError


def write(path: Path, record: dict[str, Any]) -> None:
    """Indented JSON, keys in the order given, a final newline; there whole or not at all."""
    with atomic.file(path) as file:
        file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote. Raises `LockstepError` if it is missing or damaged."""
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` makes it") from None
    except ValueError as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None
    return record
