"""Errors whose message is written for the person at the keyboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


# C0 and C1, DEL, the separators of lines and paragraphs: they end a line or command a terminal.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """The text with what is no part of a line as Python writes it, such as `\\n`."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def reason(error: BaseException) -> str:
    """What another library's error says, on one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class LockstepError(Exception):
    """Bad input or a bad state. The message is one line that names what is wrong and the mend.

    It is one line whatever stands in the names and values that it quotes.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class Several(LockstepError):
    """More than one, given as their messages; a line for each."""

    def __str__(self) -> str:
        return "\nerror: ".join(map(one_line, self.args))


class Stopped(LockstepError):
    """Somebody asked the work to stop, and it did so in good order."""


def what_is_wrong(error: ValidationError) -> str:
    """The first thing that pydantic finds wrong, behind its key with dots, if it has one."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return f"{key}: {without_kind(first)}" if key else without_kind(first)


def without_kind(first: ErrorDetails) -> str:
    """What pydantic finds wrong; not that it is a `Value error`."""
    return first["msg"].removeprefix("Value error, ")
