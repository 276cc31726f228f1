"""params.yaml -> what is in force for a workload.

The file has the list `workloads`, one section per stage (`train`, `sample`, ...) and one per
workload, whose own sections override the shared ones key by key. An unknown key, a wrong type or an
impossible value is a `LockstepError` of one line that names the key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from lockstep.config.combinations import check_combinations
from lockstep.config.schema import (
    EVALUATORS,
    OVERRIDABLE,
    SECTIONS,
    SHARED,
    SOURCES,
    TOP,
    Condition,
    Params,
)
from lockstep.core.errors import LockstepError
from lockstep.core.paths import PARAMS

_TOP: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(kind) for name, kind in TOP.items()}
_WORKLOADS = TypeAdapter(Annotated[list[str], Field(min_length=1)])
_CONDITIONS = get_args(Condition)
# Names of workloads are those of folders, of stages and of sections.
_NAME = re.compile(r"\w[\w-]*")
_RESERVED = ("workloads", "data", "condition", *SECTIONS, *TOP)
_LONGEST_NAME = 64

# Keys of earlier versions, as they stood at the top or in a workload, and what says it now.
_RENAMED = {
    "scenes": "the workload's source, of type rendered",
    "crop": "the workload's source, of type ptt",
    "merge": "the workload's source, of type folder",
    "caption": "the workload's source",
    "judge": "evaluator",
    "source_sha256": "source.sha256",
    "dataset.judge": "dataset.evaluator",
    "evaluate.seeds": "sample.seeds",
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: PyYAML follows 1.1, to which `1e-05`, as DVC writes it, is a string."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The file as nested dicts, floats as floats. Raises `LockstepError` if it is not that."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise LockstepError(f"{path}: no such file; run from the project's folder") from None
    except (yaml.YAMLError, ValueError) as error:  # a day such as 2024-02-30; another encoding
        reason = " ".join(str(error).split())
        raise LockstepError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(document, dict):
        raise LockstepError(f"{path}: expected sections, found {type(document).__name__}")
    return document


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


def workload_names(document: dict[str, Any], path: Path = PARAMS) -> list[str]:
    """The list `workloads`; each has a section, and each section of that kind is in it.

    Raises
    ------
    LockstepError
        If that is not so, or a name cannot be one.
    """
    try:
        names = _WORKLOADS.validate_python(document.get("workloads"), strict=True)
    except ValidationError as error:
        raise _one_line(error, path, "workloads") from None
    for name in names:
        check_name(name, f"{path}: workloads: ")
        if name not in document:
            raise LockstepError(
                f"{path}: workloads: {name} has no section; add `{name}:` with its source and "
                "condition, or take it off the list"
            )
    if len(set(names)) < len(names):
        raise LockstepError(f"{path}: workloads: a name stands in it twice; take one out")
    for key in document:
        if key in names or key in SHARED or key in TOP or key == "workloads":
            continue
        if key in _RENAMED:
            raise LockstepError(f"{path}: {key}: is {_RENAMED[key]} now; see CHANGELOG.md")
        section = document[key]
        if isinstance(section, dict) and {"source", "condition"} & set(section):
            raise LockstepError(f"{path}: {key}: is not in the list `workloads`; add it there")
        raise LockstepError(
            f"{path}: {key}: unknown section or parameter; remove it or correct its name"
        )
    return names


def check_name(name: str, where: str = "") -> None:
    """Raises `LockstepError` if a workload cannot be called so."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise LockstepError(
            f"{where}{name!r} is no name of a workload; give letters, digits, _ and -, at most "
            f"{_LONGEST_NAME}"
        )
    if name in _RESERVED:
        raise LockstepError(f"{where}{name!r} means something else in params.yaml; rename it")


def parse_params(document: dict[str, Any], workload: str, path: Path = PARAMS) -> Params:
    """Validate a whole document and give what is in force for `workload`.

    `path` only names the file in messages. Raises `LockstepError`.
    """
    names = workload_names(document, path)
    if workload not in names:
        raise LockstepError(f"unknown workload {workload!r}; choose from {', '.join(names)}")
    own = _mapping(path, workload, document[workload])
    for key in own:
        if key not in (*SECTIONS, "condition", *OVERRIDABLE):
            hint = f"is {_RENAMED[key]} now" if key in _RENAMED else "unknown parameter; remove it"
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
        said = "missing" if value is None else f"unknown kind {value!r}"
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
    if hint := _RENAMED.get(".".join(parts[-2:])):
        return LockstepError(f"{path}: {key}: is {hint} now; see CHANGELOG.md")
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return LockstepError(f"{path}: {key}: unknown parameter; remove it or correct its name")
    if first["type"] in ("missing", "missing_argument"):
        return LockstepError(f"{path}: {key}: missing parameter; give it a value")
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "value_error" and not first["loc"]:  # of the section as a whole
        return LockstepError(f"{path}: {key}: {message.removeprefix('value error, ')}")
    return LockstepError(f"{path}: {key}: {message}, not {first['input']!r}")


def _mapping(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LockstepError(f"{path}: {key}: expected a section of `name: value`, not {value!r}")
    return {str(name): inner for name, inner in value.items()}
