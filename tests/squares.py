"""Work for workers, which import it by this name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lockstep.core.errors import LockstepError


def square(number: int) -> int:
    return number * number


def where(number: int) -> str:
    return str(Path.cwd())


def refuse(number: int) -> int:
    raise LockstepError(f"{number}: not this one")


def killed_once(mark: Path, number: int) -> int:
    """Its process is killed the first time that it comes to 7."""
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def always_killed(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number
