"""Published settings: overlays over params.yaml, one file each in `presets/`.

A preset file has `description` (a line), `targets` (of DVC) and `params` (dotted names of workload
keys and their values). The shared `train.lr` is never set, so that `-S train.lr=...`
keeps its effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lockstep.config.document import SHARED_NAMES, read_yaml
from lockstep.core.errors import LockstepError

FOLDER = Path("presets")


@dataclass(frozen=True)
class Preset:
    name: str
    description: str
    targets: list[str]
    values: dict[str, Any]

    @property
    def path(self) -> Path:
        """Its file, for messages."""
        return FOLDER / f"{self.name}.yaml"

    def only(self, workload: str) -> Preset:
        """The same for one of its workloads. Raises `LockstepError` if it is not about it."""
        targets = [target for target in self.targets if target.endswith(f"@{workload}")]
        if not targets:
            raise LockstepError(
                f"preset {self.name} says nothing of {workload}; it is for "
                f"{', '.join(self.targets)}"
            )
        values = {k: v for k, v in self.values.items() if k.startswith(f"{workload}.")}
        return Preset(self.name, self.description, targets, values)

    def arguments(self) -> list[str]:
        """What to give to `dvc exp run`: `-S ++key=value` for each value, then the targets.

        `++` sets keys that exist and adds those that do not. Raises `LockstepError` for a value
        that has a space in it.
        """
        flags = []
        for key, value in self.values.items():
            text = _flow(value)
            if yaml.safe_load(text) != value:
                raise LockstepError(
                    f"{self.path}: {key}: {value!r} has spaces, at which a shell splits; give one "
                    "without"
                )
            flags += ["-S", f"++{key}={text}"]
        return [*flags, *self.targets]

    def over(self, document: dict[str, Any]) -> dict[str, Any]:
        """A params.yaml document with this preset's values in it; `document` is left alone.

        Raises `LockstepError` where a key leads through what is no section.
        """
        merged = {**document}
        for key, value in self.values.items():
            *sections, name = key.split(".")
            place = merged
            for section in sections:
                below = place.get(section) or {}
                if not isinstance(below, dict):
                    raise LockstepError(
                        f"{self.path}: {key}: {section} is {below!r} and no section"
                    )
                place[section] = {**below}
                place = place[section]
            place[name] = value
        return merged


def _flow(value: Any) -> str:
    """A value on one line without spaces, as `$(...)` in a shell and Hydra's grammar take it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n")
    return text.strip().replace(" ", "")


def names() -> list[str]:
    """Of all presets. Raises `LockstepError` where there is no folder of them."""
    if not FOLDER.is_dir():
        raise LockstepError(f"{FOLDER}: no such folder; run from the project's folder")
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str, folder: Path = FOLDER) -> Preset:
    """Read and check `presets/<name>.yaml`. Raises `LockstepError` that names what is wrong."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise LockstepError(f"unknown preset {name!r}; choose from {', '.join(names())}")
    content = read_yaml(path)
    if set(content) != {"description", "targets", "params"}:
        raise LockstepError(f"{path}: must have description, targets and params, nothing else")
    targets, values = content["targets"], content["params"]
    if not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise LockstepError(f"{path}: targets: expected a list of names, not {targets!r}")
    if not isinstance(values, dict):
        raise LockstepError(f"{path}: params: expected `key: value` lines, not {values!r}")
    for key, value in values.items():
        if isinstance(value, dict):
            raise LockstepError(f"{path}: {key}: name each parameter of it by itself, with dots")
        if "." not in str(key) or str(key).split(".")[0] in SHARED_NAMES:
            raise LockstepError(f"{path}: {key}: a preset sets keys of a workload only")
    return Preset(name, str(content["description"]), targets, values)
