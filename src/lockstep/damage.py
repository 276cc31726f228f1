"""Files that are not what their stage wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from lockstep.errors import LockstepError

_SAID_BY_READERS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    yaml.YAMLError,
)


@contextmanager
def named(path: Path, mend: str = "dvc checkout") -> Iterator[None]:
    """Inside, what a file lacks or has in another form is a `LockstepError` that names it."""
    try:
        yield
    except _SAID_BY_READERS as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise LockstepError(f"{path}: damaged ({said}); `{mend}` restores it") from None
