"""What dvc.lock says of the stages that ran: the hashes of what they read and of what they made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from lockstep import damage

_PATH = Path("dvc.lock")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where it is there, it is fast
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is there
Hashes = dict[str, str]


@dataclass(frozen=True)
class Lock:
    """`read`, by stage and path, and `made`, by path: MD5s as DVC notes them."""

    read: dict[str, Hashes]
    made: Hashes

    def outdated(self, stage: str) -> list[str]:
        """Inputs of a stage that others have made anew since it ran; none if it never did."""
        inputs = self.read.get(stage, {}).items()
        return sorted(path for path, md5 in inputs if self.made.get(path, md5) != md5)


def load() -> Lock:
    """The project's; an empty one where DVC has run nothing.

    Raises
    ------
    LockstepError
        If the file is damaged, such as by a merge that was not finished.
    """
    if not _PATH.exists():
        return Lock({}, {})
    with damage.named(_PATH, f"git checkout {_PATH}"):
        document = yaml.load(_PATH.read_text("utf-8"), _Loader)
        read: dict[str, Hashes] = {}
        made: Hashes = {}
        for name, stage in document["stages"].items():
            read[name] = _hashes(stage.get("deps", []))
            made |= _hashes(stage.get("outs", []))
    return Lock(read, made)


def _hashes(entries: list[dict[str, str]]) -> Hashes:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}
