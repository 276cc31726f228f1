"""params.yaml -> what is in force for a workload.

The file has the list `workloads`, one section per stage (`train`, `sample`, ...) and one per
workload, whose own sections override the shared ones key by key. An unknown key, a wrong type or an
impossible value is a `LockstepError` of one line that names the key.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from lockstep.config.combinations import check_combinations
from lockstep.config.document import RENAMED, read_yaml, shown, workload_names
from lockstep.config.schema import (
    EVALUATORS,
    OVERRIDABLE,
    SECTIONS,
    SHARED,
    TOP,
    Condition,
    Params,
    Sample,
)
from lockstep.config.sources import SOURCES
from lockstep.core.errors import LockstepError, without_kind
from lockstep.core.paths import PARAMS

_TOP: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in TOP.items()}
_CONDITIONS = get_args(Condition)
_OF_ALL_SETTINGS = ("batch_size", "count", "processes", "seeds", "strip")


def load_params(workload: str, path: Path = PARAMS) -> Params:
    """What is in force for `workload` in the file at `path`. Raises `LockstepError`."""
    return parse_params(read_yaml(path), workload, path)


def load_all(path: Path = PARAMS) -> dict[str, Params]:
    """What is in force for each workload of the file. Raises `LockstepError`."""
    document = read_yaml(path)
    return {
        workload: parse_params(document, workload, path)
        for workload in workload_names(document, path)
    }


def parse_params(document: dict[str, Any], workload: str, path: Path = PARAMS) -> Params:
    """Validate a whole document and give what is in force for `workload`.

    `path` only names the file in messages. Raises `LockstepError`.
    """
    params = _parsed(document, workload, path)
    _check_settings(params, path)
    return params


def _parsed(document: dict[str, Any], workload: str, path: Path) -> Params:
    """The same, whatever `sweep.settings` are."""
    names = workload_names(document, path)
    if workload not in names:
        raise LockstepError(f"unknown workload {workload!r}; choose from {', '.join(names)}")
    own = _mapping(path, workload, document[workload])
    for key in own:
        if key not in (*SECTIONS, "condition", *OVERRIDABLE):
            hint = f"is {RENAMED[key]} now" if key in RENAMED else "unknown parameter; remove it"
            raise LockstepError(f"{path}: {workload}.{key}: {hint}")

    condition = _kind(own.get("condition"), _CONDITIONS, f"{path}: {workload}.condition")
    values: dict[str, Any] = {"condition": condition}
    given = {name: _TOP[name] for name in OVERRIDABLE if name in own}
    for place, prefix, adapters in ((document, "", _TOP), (own, f"{workload}.", given)):
        for name, adapter in adapters.items():
            try:
                values[name] = adapter.validate_python(place.get(name), strict=True)
            except ValidationError as error:
                raise _one_line(error, path, f"{prefix}{name}") from None
    for name, kind in SHARED.items():
        shared = _mapping(path, name, document.get(name))
        if name not in own:
            raise LockstepError(
                f"{path}: {workload}.{name}: missing; add `{name}: {{}}` to override nothing"
            )
        overrides = _mapping(path, f"{workload}.{name}", own[name])
        # The shared values on their own too: an override must not hide a mistake in them.
        for prefix, merged in ((name, shared), (f"{workload}.{name}", {**shared, **overrides})):
            values[name] = _validated(kind, merged, path, prefix)
    values["source"] = _source(own, condition, path, workload)
    params = Params(workload=workload, **values)
    fits = EVALUATORS[params.evaluator.type]
    if condition not in fits:
        raise LockstepError(
            f"{path} ({workload}): evaluator.type: {params.evaluator.type} is for the condition "
            f"{' or '.join(fits)}, not {condition}; choose another one"
        )
    check_combinations(params, path)
    return params


def _check_settings(params: Params, path: Path) -> None:
    """Raise `LockstepError` if `sample` cannot have the values of `sweep.settings`."""
    prefix = f"{params.workload}.sweep.settings"
    for number, changes in enumerate(params.sweep.settings):
        if changes in params.sweep.settings[:number]:
            raise LockstepError(f"{path}: {prefix}: {changes} stands there twice; remove one")
        if fixed := [name for name in changes if name in _OF_ALL_SETTINGS]:
            raise LockstepError(
                f"{path}: {prefix}: {fixed[0]} is the same for all settings of a sweep; remove it"
            )
        values = {**dataclasses.asdict(params.sample), **changes}
        changed = dataclasses.replace(params, sample=_validated(Sample, values, path, prefix))
        check_combinations(changed, path, f"sweep.settings {changes}: ")


def load_changed(workload: str, path: Path, **sample: Any) -> Params:
    """A workload's parameters with values of `sample` that a command line gives; None is not given.

    Raises `LockstepError`, which calls a mistake among these one of the command line.
    """
    document = read_yaml(path)
    params = parse_params(document, workload, path)  # its mistakes, in its name
    given = {name: value for name, value in sample.items() if value is not None}
    if not given:
        return params
    document[workload]["sample"].update(given)
    return _parsed(document, workload, Path("command line"))


def _source(own: dict[str, Any], condition: Condition, path: Path, workload: str) -> Any:
    """The settings of the workload's source, validated by its type."""
    key = f"{workload}.source"
    if isinstance(own.get("source"), str):
        raise LockstepError(f"{path}: {key}: is a section now, `source: {{type: ...}}`")
    section = _mapping(path, key, own.get("source"))
    types = [kind for kind, said in SOURCES if said == condition]
    found = _kind(section.get("type"), tuple(types), f"{path}: {key}.type (condition {condition})")
    return _validated(SOURCES[found, condition], section, path, key)


def _kind(value: Any, known: tuple[Any, ...], where: str) -> Any:
    if value not in known:
        said = "missing" if value is None else f"unknown kind {shown(value)}"
        raise LockstepError(f"{where}: {said}; give one of {', '.join(known)}")
    return value


def _validated(kind: type, values: dict[str, Any], path: Path, prefix: str) -> Any:
    try:
        return kind(**values)
    except ValidationError as error:
        raise _one_line(error, path, prefix) from None


def _one_line(error: ValidationError, path: Path, prefix: str) -> LockstepError:
    first = error.errors(include_url=False)[0]
    key = ".".join([prefix, *(str(part) for part in first["loc"])]).strip(".")
    # Without the workload before it: a key that was renamed is so everywhere.
    parts = key.split(".")
    if hint := RENAMED.get(".".join(parts[-2:])):
        return LockstepError(f"{path}: {key}: is {hint} now; see CHANGELOG.md")
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return LockstepError(f"{path}: {key}: unknown parameter; remove it or correct its name")
    if first["type"] in ("missing", "missing_argument"):
        return LockstepError(f"{path}: {key}: missing parameter; give it a value")
    message = without_kind(first)
    if first["type"] != "value_error":  # it is pydantic's own sentence
        message = message[:1].lower() + message[1:]
    elif not first["loc"]:  # of the section as a whole
        return LockstepError(f"{path}: {key}: {message}")
    return LockstepError(f"{path}: {key}: {message}, not {shown(first['input'])}")


def _mapping(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LockstepError(
            f"{path}: {key}: expected a section of `name: value`, not {shown(value)}"
        )
    return {str(name): inner for name, inner in value.items()}
