"""Errors as one line on stderr."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from lockstep.core import experiments, paths
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
        _say(f"error: {who}{error}")
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        _say(f"error: {who}{error.filename or 'disk'}: {error.strerror}")
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        _say(f"error: {who}{error.object!r}: cannot be said in {error.encoding}; set PYTHONUTF8=1")
    finally:
        # Of several processes, the one that launched the others says it.
        if status != 0 and not launched() and experiments.changed_params():
            _say(
                f"{paths.PARAMS} keeps the experiment's values; to go back: `git checkout "
                f"{paths.PARAMS}`, then `dvc repro`, which takes the outputs from the cache"
            )
    return status


def _say(line: str) -> None:
    """On stderr, not behind a progress bar that has not ended."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
