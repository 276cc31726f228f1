"""Things from outside the project enter with the hash of their content beside their path."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.core import paths
from lockstep.core.errors import LockstepError


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of a folder: of its files' relative names and hashes, in order.

    Of a file in a folder that cannot be read, that counts instead. Raises `LockstepError` if there
    is nothing at `path`.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise LockstepError(f"{path}: no such file or folder")
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return sha256_of({p.relative_to(path).as_posix(): p for p in files})


def sha256_of(files: Mapping[str, Path]) -> str:
    """The SHA-256 of a folder that has these files alone, by their relative names, in order."""
    total = hashlib.sha256()
    for name, path in files.items():
        line = f"{name}\0{_of_file(path)}\n"
        total.update(line.encode("utf-8", "surrogateescape"))  # a name may be of another encoding
    return total.hexdigest()


def _of_file(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return "not readable"


def verified(path: str, expected: str | None, key: str) -> Path:
    """The file or folder that `key` names, from the project's folder on. Raises as `verify`."""
    found = paths.home() / path
    verify(found, expected, key)
    return found


def verify(path: Path, expected: str | None, key: str) -> None:
    """Check that `path` still holds what params.yaml says.

    Raises `LockstepError`, with the command that mends it, if it does not or there is no hash.
    """
    if sha256(path) != expected:
        said = "has no hash in params.yaml" if expected is None else "is not what params.yaml says"
        command = shlex.join(["lockstep", "add", key, str(path)])
        raise LockstepError(
            f"{path}: {key} {said}; run `{command}` (with the workload before the key where it "
            "stands in a workload's section)"
        )


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
