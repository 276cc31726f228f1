"""Which class an image is of, by the folder that it lies in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import PurePosixPath

from lockstep.core.errors import LockstepError
from lockstep.core.parquet_images import ENDING


def classes_of(paths: Sequence[str]) -> list[str] | None:
    """The class of each path: its first folder below those that all paths have in common.

    Of the images in a Parquet file it is the folder in there, wherever the file itself lies. None
    if all lie in one folder. Raises `LockstepError` if only some lie beside the folders of the
    classes.
    """
    folders = [_folders(path) for path in paths]
    if not folders:
        return None
    # What the first and the last in order have in common, all have.
    pairs = zip(min(folders), max(folders), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    beside = [path for path, parts in zip(paths, folders, strict=True) if len(parts) == common]
    if len(beside) == len(paths):
        return None
    if beside:
        raise LockstepError(
            f"{beside[0]}: lies beside the folders of the classes; move it into one, or all images "
            "into one folder"
        )
    return [parts[common] for parts in folders]


def _folders(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parent.parts
    inside = [place for place, part in enumerate(parts, 1) if part.lower().endswith(f"{ENDING}!")]
    return parts[inside[0] :] if inside else parts


def check_names(classes: Iterable[str]) -> None:
    """Raise `LockstepError` if two classes differ in case only."""
    lower: dict[str, str] = {}
    for name in sorted(set(classes)):
        if (other := lower.setdefault(name.casefold(), name)) != name:
            raise LockstepError(
                f"the classes {other!r} and {name!r} differ in case only; rename one folder"
            )
