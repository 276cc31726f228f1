"""What `source.paths` names: things from outside, held against their hashes, or synthetic ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.sources.folders.synthetic import SYNTHETIC
from lockstep.sources.folders.unpack import Source


def verified(
    names: Sequence[str],
    expected: Sequence[str | None],
    home: Path,
    draw: Callable[[], Sequence[Source]],
) -> tuple[list[Source], list[str | None]]:
    """The sources in their order, and the SHA-256 of each name; None for `synthetic`.

    Parameters
    ----------
    names
        Paths, absolute or from `home`; or `synthetic`, for which `draw` gives the sources.
    expected
        The hashes that the names must have, if any are given.

    Raises
    ------
    LockstepError
        If a path is missing, or what is there has another hash.
    """
    sources: list[Source] = []
    hashes: list[str | None] = []
    for number, name in enumerate(names):
        if name == SYNTHETIC:
            sources += draw()
            hashes.append(None)
            continue
        path = home / name
        if not path.exists():
            raise LockstepError(f"{path}: no such file or folder; see source.paths")
        digest = hashing.sha256(path)
        if expected and digest != expected[number]:
            raise LockstepError(
                f"{path}: is not what source.sha256 says; if that is meant, set {digest}"
            )
        sources.append(Source(name, path))
        hashes.append(digest)
    return sources, hashes
