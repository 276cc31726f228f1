"""Setting values in a YAML file that people write: comments and layout stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lockstep import atomic
from lockstep.errors import LockstepError


def section(document: Any, *names: str) -> dict[str, Any]:
    """The section within sections, not a copy; an empty one if there is none."""
    place = document
    for name in names:
        place = place.get(name) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else {}


def set_values(path: Path, values: dict[str, Any]) -> None:
    """Set dotted keys that exist already.

    Raises
    ------
    LockstepError
        If one does not, or the file is no YAML.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10**6
    try:
        document = yaml.load(path)
    except YAMLError as error:
        raise LockstepError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    for key, value in values.items():
        *sections, name = key.split(".")
        place = section(document, *sections)
        if name not in place:
            raise LockstepError(f"{path}: {key}: no such parameter to set")
        place[name] = value
    with atomic.file(path) as temporary:
        yaml.dump(document, temporary)
