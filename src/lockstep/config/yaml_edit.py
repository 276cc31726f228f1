"""Setting values in a YAML file that people write: comments and layout stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_file


def section(document: Any, *names: str) -> dict[str, Any]:
    """The section within sections, not a copy; an empty one if there is none."""
    place = document
    for name in names:
        place = place.get(name) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else {}


def differing(now: Any, before: Any) -> Iterator[str]:
    """The dotted names of the values that only one of two documents has, or that differ."""
    if not (isinstance(now, dict) and isinstance(before, dict)):
        if now != before:
            yield ""
        return
    for key in {**before, **now}:
        for below in differing(now.get(key), before.get(key)):
            yield f"{key}.{below}".removesuffix(".")


def set_values(path: Path, values: dict[str, Any], *, may_add: bool = False) -> None:
    """Set dotted keys that exist already; with `may_add` others too, in sections that exist.

    Raises `LockstepError` if one does not, or the file is no YAML.
    """
    with _edited(path) as document:
        for key, value in values.items():
            *sections, name = key.split(".")
            place = section(document, *sections)
            if name not in place and not may_add:
                raise LockstepError(f"{path}: {key}: no such parameter to set")
            place[name] = value


def add_section(path: Path, names: str, name: str, values: dict[str, Any]) -> None:
    """Append a section to the file, and its name to the list called `names`.

    Raises `LockstepError` if the file is no YAML.
    """
    with _edited(path) as document:
        document[names].append(name)
        document[name] = values


@contextmanager
def _edited(path: Path) -> Iterator[Any]:
    """The file's document to change; it is written at the end of the block."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10**6
    try:
        document = yaml.load(path.read_bytes())
    except YAMLError as error:
        raise LockstepError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    yield document
    # As bytes: a text file would have the locale's encoding.
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        yaml.dump(document, file)
