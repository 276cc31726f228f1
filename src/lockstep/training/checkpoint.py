"""Checkpoints of an unfinished training: whole or absent, and never somebody else's.

They live in a scratch folder named by the training's fingerprint:

    step-000000500/state.safetensors, record.json     a checkpoint; the newest few are kept
                   weights/                           what had been put aside by then
    weights/best.safetensors, step_1000.safetensors   weights put aside for the finished model
    finished                                          there once the outputs are written
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_file, atomic_folder, read_json, write_json
from lockstep.core.lock import is_held
from lockstep.core.weights import read_tensors, save_weights

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

        Later ones, which `latest` has passed over, go. Raises `LockstepError` if it cannot be
        written (a full disk); those before are as they were.
        """
        path = self.folder / f"step-{checkpoint.step:09d}"
        with atomic_folder(path) as temporary:
            save_weights(checkpoint.tensors, temporary / "state.safetensors")
            write_json(temporary / "record.json", checkpoint.record)
            _link_all(self._weights, temporary / "weights")
        found = self._found()
        newer = [other for other in found if other.name > path.name]
        for other in [*newer, *found[len(newer) + self.keep :]]:
            shutil.rmtree(other)

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint; None if there is none.

        What is put aside is then what had been by that step. A checkpoint that is cut short or
        cannot be read is passed over for the one before, and stderr says so.
        """
        for path in self._found():
            try:
                tensors = read_tensors(path / "state.safetensors")
                record = read_json(path / "record.json")
            except (OSError, LockstepError) as error:
                print(f"{path}: damaged checkpoint passed over ({error})", file=sys.stderr)
                continue
            shutil.rmtree(self._weights, ignore_errors=True)
            _link_all(path / "weights", self._weights)
            return Checkpoint(int(path.name.removeprefix("step-")), tensors, record)
        return None

    def keep_weights(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Put weights aside under a name, in the place of others of that name."""
        with atomic_file(self._weights / f"{name}.safetensors") as temporary:
            save_weights(weights, temporary)

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


def _link_all(source: Path, target: Path) -> None:
    """Put the files of a folder into another one, without copying them where that is possible."""
    # Not what a killed process has not finished.
    files = [path for path in source.iterdir() if path.name[0] != "."] if source.is_dir() else []
    if files:
        target.mkdir(parents=True, exist_ok=True)
    for path in files:
        try:
            os.link(path, target / path.name)
        except OSError:  # not every file system has links
            shutil.copyfile(path, target / path.name)


def remove_finished(scratch: Path, but: Path) -> None:
    """Delete the checkpoints of the finished trainings in `scratch`, save those in `but`.

    A training whose lock (`<folder>.lock`) is held is just handing on its outputs.
    """
    for marker in scratch.glob(f"*/{_FINISHED}"):
        if marker.parent != but and not is_held(marker.parent.with_suffix(".lock")):
            shutil.rmtree(marker.parent, ignore_errors=True)
