"""Checkpoints of an unfinished training: whole or absent, and never somebody else's.

They live in a scratch folder named by the training's fingerprint, one folder a checkpoint:
`state.safetensors` and `history.json`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lockstep import atomic

_NAME = re.compile(r"step-(\d{9})$")
KEEP = 2
_FINISHED = "finished"


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

    def finish(self) -> None:
        """Mark the training as finished: its outputs are written.

        The last checkpoint stays for now: should its outputs be lost before DVC has stored them,
        the same command has them back at once. `remove_finished` frees the space.
        """
        (self.folder / _FINISHED).touch()

    def _found(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        whole = [path for path in self.folder.iterdir() if _NAME.match(path.name)]
        return sorted(whole, reverse=True)


def remove_finished(scratch: Path, but: Path) -> None:
    """Delete the checkpoints of the finished trainings in `scratch`, save those in `but`."""
    for marker in scratch.glob(f"*/{_FINISHED}"):
        if marker.parent != but:
            shutil.rmtree(marker.parent, ignore_errors=True)
