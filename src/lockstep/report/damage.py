"""Files that are not what their stage wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.errors import LockstepError


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, what a file lacks or has in another form is a `LockstepError` that names it."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise LockstepError(f"{path}: damaged ({said}); `dvc checkout` restores it") from None
