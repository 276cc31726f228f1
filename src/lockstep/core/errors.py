"""Errors whose message is written for the person at the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class LockstepError(Exception):
    """Bad input or a bad state. The message is one line that names what is wrong and the mend."""


class Stopped(LockstepError):
    """Somebody asked the work to stop, and it did so in good order."""


def what_is_wrong(error: ValidationError) -> str:
    """The first thing that pydantic finds wrong, behind its key with dots, if it has one."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return f"{key}: {first['msg']}" if key else first["msg"]
