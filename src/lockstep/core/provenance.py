"""`provenance.json`: beside each output, what decided it.

One form everywhere: `params`, the values by dotted name (those of earlier stages too, as far as
they are carried), and `inputs`, whatever else the stage was given, such as the fingerprint of the
model that sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json, write_json

FILE = "provenance.json"


@dataclass(frozen=True)
class Provenance:
    """What decided an output."""

    params: dict[str, Any]
    inputs: dict[str, Any]


def write_provenance(folder: Path, params: Mapping[str, Any], **inputs: Any) -> None:
    """Write the file into an output's folder."""
    write_json(folder / FILE, {"params": dict(params), "inputs": inputs})


def read_provenance(folder: Path) -> Provenance:
    """What `write_provenance` wrote. Raises `LockstepError` if it is missing or damaged."""
    found = read_json(folder / FILE)
    if found.keys() != {"params", "inputs"}:
        raise LockstepError(f"{folder / FILE}: damaged; `dvc checkout` restores it")
    return Provenance(**found)
