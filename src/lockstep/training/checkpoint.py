"""Checkpoints of an unfinished training: whole or absent, and never somebody else's.

They live in a scratch folder named by the training's fingerprint, one folder a checkpoint:
`state.safetensors` and `history.json`.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lockstep import atomic
from lockstep.errors import LockstepError

_NAME = re.compile(r"step-(\d{9})$")
KEEP = 2


class Checkpoints:
    """The checkpoints in one folder, the newest `KEEP` of them kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: dict[str, Tensor], history: Any) -> None:
        """Write a checkpoint: after a crash at any moment it is there whole or not at all."""
        with atomic.folder(self.folder / f"step-{step:09d}") as temporary:
            save_file(state, temporary / "state.safetensors")
            (temporary / "history.json").write_text(json.dumps(history), "utf-8")
        for old in self._found()[KEEP:]:
            shutil.rmtree(old)

    def latest(self) -> tuple[int, dict[str, Tensor], Any] | None:
        """(step, state, history) of the newest whole checkpoint; None if there is none.

        A damaged one is passed over for the one before, and stderr says so.
        """
        for path in self._found():
            try:
                state = load_file(path / "state.safetensors")
                history = json.loads((path / "history.json").read_text("utf-8"))
            except (OSError, SafetensorError, ValueError) as error:
                print(f"{path}: damaged checkpoint passed over ({error})", file=sys.stderr)
                continue
            return int(path.name.removeprefix("step-")), state, history
        return None

    def clear(self) -> None:
        """Delete all: the training's outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        whole = [path for path in self.folder.iterdir() if _NAME.match(path.name)]
        return sorted(whole, reverse=True)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold `lock` against other processes; it is freed even if this one is killed.

    Raises
    ------
    LockstepError
        If another process holds it: the same training is already running.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockstepError(
                f"{lock}: the same training is running in another process; wait for it or end it"
            ) from None
        yield
