"""Checkpoints of an unfinished training: whole or absent, and never somebody else's.

They live in a scratch folder named by the training's fingerprint:

    step-000000500/state.safetensors, record.json     a checkpoint; the newest few are kept
    weights/best.safetensors, step_1000.safetensors   weights to keep for the finished model
    finished                                          there once the outputs are written
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lockstep import atomic
from lockstep.errors import LockstepError

_NAME = re.compile(r"step-(\d{9})")
_FINISHED = "finished"


class Checkpoint(NamedTuple):
    """What was saved after `step` steps: tensors by name, and a record of JSON values."""

    step: int
    tensors: dict[str, Tensor]
    record: dict[str, Any]


class Checkpoints:
    """The checkpoints in one folder, the newest `keep` of them kept."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint: after a crash at any moment it is there whole or not at all.

        Raises
        ------
        LockstepError
            If it cannot be written (a full disk); those before are as they were.
        """
        path = self.folder / f"step-{checkpoint.step:09d}"
        try:
            with atomic.folder(path) as temporary:
                save_file(checkpoint.tensors, temporary / "state.safetensors")
                (temporary / "record.json").write_text(json.dumps(checkpoint.record), "utf-8")
        except (OSError, SafetensorError) as error:
            raise _unwritable(path, error) from None
        for old in self._found()[self.keep :]:
            shutil.rmtree(old)

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint; None if there is none.

        A damaged one is passed over for the one before, and stderr says so.
        """
        for path in self._found():
            try:
                tensors = load_file(path / "state.safetensors")
                record = json.loads((path / "record.json").read_text("utf-8"))
            except (OSError, SafetensorError, ValueError) as error:
                print(f"{path}: damaged checkpoint passed over ({error})", file=sys.stderr)
                continue
            return Checkpoint(int(path.name.removeprefix("step-")), tensors, record)
        return None

    def keep_weights(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Put weights aside under a name, in the place of others of that name."""
        path = self._weights / f"{name}.safetensors"
        try:
            with atomic.file(path) as temporary:
                save_file(dict(weights), temporary)
        except (OSError, SafetensorError) as error:
            raise _unwritable(path, error) from None

    def copy_weights(self, names: Iterable[str], out: Path) -> None:
        """Copy weights put aside into a folder. Raises `LockstepError` if some are gone."""
        for name in names:
            path = self._weights / f"{name}.safetensors"
            if not path.is_file():
                raise LockstepError(f"{path}: gone; `lockstep clean --force` and train again")
            shutil.copyfile(path, out / path.name)

    def finish(self) -> None:
        """Mark the training as finished: its outputs are written.

        The last checkpoint stays for now: should its outputs be lost before DVC has stored them,
        the same command has them back at once. `remove_finished` frees the space.
        """
        (self.folder / _FINISHED).touch()

    @property
    def _weights(self) -> Path:
        return self.folder / "weights"

    def _found(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        whole = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(whole, reverse=True)


def _unwritable(path: Path, error: Exception) -> LockstepError:
    reason = " ".join(str(error).split())
    return LockstepError(
        f"{path}: cannot be written ({reason}); the checkpoints before it are whole: free some "
        "space, and the same command goes on from the last one"
    )


def remove_finished(scratch: Path, but: Path) -> None:
    """Delete the checkpoints of the finished trainings in `scratch`, save those in `but`."""
    for marker in scratch.glob(f"*/{_FINISHED}"):
        if marker.parent != but:
            shutil.rmtree(marker.parent, ignore_errors=True)
