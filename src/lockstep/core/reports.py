"""Errors as one line on stderr."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.rank import is_first_here, launched, rank

# What a disk says that has no room, no right to be written to, or no more life in it.
_REFUSALS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def reported(action: Callable[[], None]) -> int:
    """Run; a `LockstepError`, or the disk's refusal, becomes one line on stderr.

    Where an experiment has failed in the main checkout, a second line says how to take it back.
    Gives the exit status.
    """
    who = "" if is_first_here() else f"process {rank()}: "
    status = 1
    try:
        action()
        status = 0
    except LockstepError as error:
        print(f"error: {who}{error}", file=sys.stderr)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        print(f"error: {who}{error.filename or 'disk'}: {error.strerror}", file=sys.stderr)
    finally:
        if status != 0 and _experiment_changed_params():
            print(
                f"{paths.PARAMS} keeps the experiment's values; to go back: `git checkout "
                f"{paths.PARAMS}`, then `dvc repro`, which takes the outputs from the cache",
                file=sys.stderr,
            )
    return status


def _experiment_changed_params() -> bool:
    """Whether `dvc exp run` has started this in the main checkout, with a params.yaml not git's.

    DVC leaves it so when a stage fails; under `--temp` and `--queue` it was a copy's.
    """
    in_place = "DVC_EXP_NAME" in os.environ and paths.home() == Path.cwd()
    if not in_place or launched():  # the process that launched says it
        return False
    command = ["git", "diff", "--quiet", "HEAD", "--", str(paths.PARAMS)]
    try:
        return subprocess.run(command, check=False).returncode == 1
    except OSError:
        return False  # no git
