"""The parameters in force, against those of the last commit and of what lies on disk."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep import damage, paths, records
from lockstep import params as parameters
from lockstep.errors import LockstepError
from lockstep.params import Params
from lockstep.report import git
from lockstep.yaml_edit import section

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


def in_force(params: Params) -> dict[str, Any]:
    """All that decides a workload's results, and some that does not, by dotted name."""
    values: dict[str, Any] = {"threads": params.threads}
    if params.source:
        values |= {"source": params.source, "source_sha256": params.source_sha256}
    return values | params.values(*parameters.SECTIONS)


def sections(params: Params) -> tuple[Section, ...]:
    """All parameters, with what they were in the last commit's params.yaml where they differ."""
    before = _committed(params.workload)
    found: dict[str, list[Setting]] = {}
    for name, value in in_force(params).items():
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


def stale(params: Params) -> tuple[Setting, ...]:
    """Parameters that are in force now but are not what made the outputs on disk.

    `before` is what made them.
    """
    now = in_force(params)
    if params.train.epochs is not None:  # the model knows how many steps that was
        del now["train.epochs"], now["train.steps"]
    if params.train.snapshot_every_epochs is not None:  # and these
        del now["train.snapshot_every_epochs"], now["train.snapshots"]
    if not params.merge.sources_sha256:  # they were not asked for, but were found all the same
        del now["merge.sources_sha256"]
    workload = params.workload
    found: dict[Setting, None] = {}
    for path in (
        paths.dataset(workload) / "dataset.json",
        paths.judge(workload) / paths.JUDGE,
        paths.reference(workload) / paths.REFERENCE,
        paths.model(workload) / "model.json",
        paths.samples(workload) / "sampling.json",
        paths.plots(workload, "evaluate") / paths.EVALUATED,
        paths.plots(workload, "sweep") / "sweep.json",
    ):
        if not path.exists():
            continue
        record = records.read(path)
        with damage.named(path):
            for name, value in record.get("params", record).items():
                if name in now and now[name] != value:
                    found[Setting(name, text(now[name]), text(value))] = None
    return tuple(found)


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
            read = parameters.read(path)
        except LockstepError:
            return None
    own = section(read, workload)
    values = {
        f"{name}.{key}": value
        for name in parameters.SECTIONS
        for key, value in {**section(read, name), **section(own, name)}.items()
    }
    beside = {key: own.get(key, read.get(key)) for key in ("threads", "source", "source_sha256")}
    return values | beside
