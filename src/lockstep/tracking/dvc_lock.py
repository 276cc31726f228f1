"""What dvc.lock says of the stages that ran: the hashes of what they read and of what they made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from lockstep.core.files import damage_named

_PATH = Path("dvc.lock")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where it is there, it is fast
Hashes = dict[str, str]


@dataclass(frozen=True)
class Lock:
    """What each stage has read, and what each has made: paths with their MD5s, as DVC notes them.

    `maker` says of a path which stage made it, `made` its hash.
    """

    read: dict[str, Hashes]
    made: Hashes
    maker: dict[str, str]

    def outdated(self, stage: str) -> list[str]:
        """What stages before this one have made anew without those after them; sorted.

        None if the stage never ran.
        """
        found: set[str] = set()
        seen, left = {stage}, [stage]
        while left:
            for path, md5 in self.read.get(left.pop(), {}).items():
                if self.made.get(path, md5) != md5:
                    found.add(path)
                maker = self.maker.get(path)
                if maker is not None and maker not in seen:
                    seen.add(maker)
                    left.append(maker)
        return sorted(found)


def load() -> Lock:
    """The project's; an empty one where DVC has run nothing.

    Raises `LockstepError` if the file is damaged, such as by a merge that was not finished.
    """
    lock = Lock({}, {}, {})
    if not _PATH.exists():
        return lock
    with damage_named(_PATH, f"git checkout HEAD {_PATH}"):
        document = yaml.load(_PATH.read_text("utf-8"), _Loader)
        for name, stage in document["stages"].items():
            outs = _hashes(stage.get("outs", []))
            lock.read[name] = _hashes(stage.get("deps", []))
            lock.made.update(outs)
            lock.maker.update(dict.fromkeys(outs, name))
    return lock


def _hashes(entries: list[dict[str, str]]) -> Hashes:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}
