"""The parameters in force, against those of the last commit and of what lies on disk."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.config.load import read_yaml
from lockstep.config.schema import SECTIONS, Params
from lockstep.config.yaml_edit import section
from lockstep.core import paths
from lockstep.core.cpus import cores_for_auto
from lockstep.core.errors import LockstepError
from lockstep.core.files import damage_named, read_json
from lockstep.core.provenance import FILE, read_provenance
from lockstep.report import git
from lockstep.training.steps import with_steps

_ABSENT = object()


@dataclass(frozen=True)
class Setting:
    """A parameter as text. `before` is its other value, None if that is the same or unknown."""

    name: str
    value: str
    before: str | None = None


@dataclass(frozen=True)
class Section:
    """The parameters of one section; those that stand in none are in the one without a name."""

    name: str
    settings: tuple[Setting, ...]


def sections(params: Params) -> tuple[Section, ...]:
    """All parameters, with what they were in the last commit's params.yaml where they differ."""
    before = _committed(params.workload)
    found: dict[str, list[Setting]] = {}
    for name, value in params.in_force().items():
        section, _, own = name.rpartition(".")
        was = None
        if before is not None and before.get(name, _ABSENT) != value:
            was = text(before[name]) if name in before else "not there"
        found.setdefault(section, []).append(Setting(own, text(value), was))
    return tuple(Section(name, tuple(settings)) for name, settings in found.items())


def changed(found: tuple[Section, ...]) -> tuple[Setting, ...]:
    """Those that are not as committed, under their whole names."""
    return tuple(
        dataclasses.replace(setting, name=f"{section.name}.{setting.name}".strip("."))
        for section in found
        for setting in section.settings
        if setting.before is not None
    )


def stale(params: Params, folders: Iterable[Path] | None = None) -> tuple[Setting, ...]:
    """Parameters that are in force now but are not what made the outputs on disk.

    `before` is what made them. With `folders`, of these outputs alone.
    """
    now = _counted(params)
    now.pop("source.paths", None)  # outputs know the last part alone
    if not now.get("source.sha256"):  # they were not asked for, but were found all the same
        now.pop("source.sha256", None)
    found: dict[Setting, None] = {}
    for folder in _outputs(params.workload) if folders is None else folders:
        if not (folder / FILE).exists():
            continue
        with damage_named(folder / FILE):
            for name, value in read_provenance(folder).params.items():
                if name in now and now[name] != value:
                    found[Setting(name, text(now[name]), text(value))] = None
    return tuple(found)


def _outputs(workload: str) -> tuple[Path, ...]:
    return (
        paths.dataset(workload),
        paths.evaluator(workload),
        paths.reference(workload),
        paths.model(workload),
        paths.noisy_classifier(workload),
        paths.samples(workload),
        paths.tables(workload, "evaluate"),
        paths.tables(workload, "sweep"),
    )


def _counted(params: Params) -> dict[str, Any]:
    """The parameters in force, epochs as the steps that they come to: outputs know steps alone."""
    path = paths.dataset(params.workload) / "dataset.json"
    if path.exists():
        with damage_named(path):
            return with_steps(params, read_json(path)["train"]).in_force()
    now = params.in_force()
    if params.train.epochs is not None:
        del now["train.epochs"], now["train.steps"]
    if params.train.snapshot_every_epochs is not None:
        del now["train.snapshot_every_epochs"], now["train.snapshots"]
    return now


def text(value: Any) -> str:
    """As params.yaml has it; nothing is `empty`."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(text, value))}]"
    return str(value)


def _committed(workload: str) -> dict[str, Any] | None:
    """The values of the last commit, as that has them: its form may be an older one."""
    document = git.committed(paths.PARAMS)
    if document is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / paths.PARAMS.name
        path.write_text(document, "utf-8")
        try:
            read = read_yaml(path)
        except LockstepError:
            return None
    own = section(read, workload)
    values = {
        f"{name}.{key}": value
        for name in SECTIONS
        for key, value in {**section(read, name), **section(own, name)}.items()
    }
    threads, condition = (own.get(key, read.get(key)) for key in ("threads", "condition"))
    return values | {"threads": cores_for_auto(threads), "condition": condition}
