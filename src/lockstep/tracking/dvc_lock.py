"""What dvc.lock says of the stages that ran: the hashes of what they read and of what they made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lockstep.core.files import damage_named

_PATH = Path("dvc.lock")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where it is there, it is fast
Hashes = dict[str, str]


@dataclass(frozen=True)
class Lock:
    """What each stage has read, and what each has made: paths with their MD5s, as DVC notes them.

    `maker` says of a path which stage made it, `made` its hash. `params` are the values of
    params.yaml that each stage ran with, by dotted key.
    """

    read: dict[str, Hashes]
    made: Hashes
    maker: dict[str, str]
    params: dict[str, dict[str, Any]]

    def outdated(self, stage: str) -> list[str]:
        """What stages before this one have made anew without those after them; sorted.

        None if the stage never ran.
        """
        return sorted(
            {
                path
                for earlier in self._up_to(stage)
                for path, md5 in self.read.get(earlier, {}).items()
                if self.made.get(path, md5) != md5
            }
        )

    def edited(self, stage: str, document: Mapping[str, Any]) -> list[str]:
        """Which keys of params.yaml, read as `document`, this stage or one before it had otherwise.

        Sorted; none if the stage never ran.
        """
        found: set[str] = set()
        for earlier in self._up_to(stage):
            for key, value in self.params.get(earlier, {}).items():
                now: Any = document
                for part in key.split("."):
                    now = now.get(part) if isinstance(now, Mapping) else None
                found.update(_differing(key, value, now))
        return sorted(found)

    def _up_to(self, stage: str) -> Iterator[str]:
        """The stage, and all before it."""
        seen, left = {stage}, [stage]
        while left:
            yield (one := left.pop())
            makers = {self.maker[path] for path in self.read.get(one, {}) if path in self.maker}
            left += makers - seen
            seen |= makers


def load() -> Lock:
    """The project's; an empty one where DVC has run nothing.

    Raises `LockstepError` if the file is damaged, such as by a merge that was not finished.
    """
    lock = Lock({}, {}, {}, {})
    if not _PATH.exists():
        return lock
    with damage_named(_PATH, f"git checkout HEAD {_PATH}"):
        document = yaml.load(_PATH.read_text("utf-8"), _Loader)
        for name, stage in document["stages"].items():
            outs = _hashes(stage.get("outs", []))
            lock.read[name] = _hashes(stage.get("deps", []))
            lock.params[name] = dict(stage.get("params", {}).get("params.yaml", {}))
            lock.made.update(outs)
            lock.maker.update(dict.fromkeys(outs, name))
    return lock


def _hashes(entries: list[dict[str, str]]) -> Hashes:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _differing(key: str, before: Any, now: Any) -> Iterator[str]:
    """The keys from `key` on whose values differ; what is missing is null, or an empty section."""
    old, new = ({} if value is None else value for value in (before, now))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {*old, *new}:
            yield from _differing(f"{key}.{name}", old.get(name), new.get(name))
    elif _number(before) != _number(now):
        yield key


def _number(value: Any) -> Any:
    """YAML 1.1 takes DVC's `1e-05` for a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
