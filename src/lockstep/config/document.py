"""params.yaml as it is written: nested dicts, the names of its sections and of its workloads.

Without pydantic, which takes 0.3 s to import: what only edits or names things goes without.
"""

from __future__ import annotations

import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from lockstep.core.errors import LockstepError
from lockstep.core.paths import PARAMS

SHARED_NAMES = (
    "card",
    "crawl",
    "download",
    "dataset",
    "evaluator",
    "autoencoder",
    "text",
    "noisy_classifier",
    "model",
    "diffusion",
    "train",
    "sample",
    "evaluate",
    "sweep",
)
"""The sections that stand at the top and, to override it, in a workload."""

TOP_NAMES = (
    "threads",
    "checkpoint_every",
    "keep_checkpoints",
    "grid_every_epochs",
    "grid_every_steps",
)
"""What stands at the top beside the sections."""

# Names of workloads are those of folders, of stages and of sections.
# DVC's `-S` takes no others: not `3d`, not letters with accents.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = ("workloads", "data", "condition", "source", *SHARED_NAMES, *TOP_NAMES)
_LONGEST_NAME = 64
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200

# Keys of earlier versions, as they stood at the top or in a workload, and what says it now.
RENAMED = {
    "scenes": "the workload's source, of type rendered",
    "crop": "the workload's source, of type ptt",
    "merge": "the workload's source, of type folder",
    "caption": "the workload's source",
    "judge": "evaluator",
    "source_sha256": "source.sha256",
    "dataset.judge": "dataset.evaluator",
    "evaluate.seeds": "sample.seeds",
}


# libyaml's loader takes 20 ms where the one in Python takes 70; PyYAML may come without it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """YAML 1.2 floats: PyYAML follows 1.1, to which `1e-05`, as DVC writes it, is a string."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
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
    except OSError:
        raise
    except Exception as error:  # a day such as 2024-02-30, another encoding, an odd tag
        reason = " ".join(str(error).split())
        raise LockstepError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(document, dict):
        raise LockstepError(f"{path}: expected sections, found {type(document).__name__}")
    return document


def shown(value: Any) -> str:
    """A value as Python writes it, short enough for a message."""
    return _SHORT.repr(value)


def workload_names(document: dict[str, Any], path: Path = PARAMS) -> list[str]:
    """The list `workloads`; each has a section, and each section of that kind is in it.

    Raises `LockstepError` if that is not so, or a name cannot be one.
    """
    names = document.get("workloads")
    if not isinstance(names, list) or not names:
        raise LockstepError(f"{path}: workloads: give a list of names, not {shown(names)}")
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
        if key in names or key in SHARED_NAMES or key in TOP_NAMES or key == "workloads":
            continue
        if key in RENAMED:
            raise LockstepError(f"{path}: {key}: is {RENAMED[key]} now; see CHANGELOG.md")
        section = document[key]
        if isinstance(section, dict) and {"source", "condition"} & set(section):
            raise LockstepError(f"{path}: {key}: is not in the list `workloads`; add it there")
        raise LockstepError(
            f"{path}: {key}: unknown section or parameter; remove it or correct its name"
        )
    return names


def check_name(name: Any, where: str = "") -> None:
    """Raises `LockstepError` if a workload cannot be called so."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise LockstepError(
            f"{where}{shown(name)} is no name of a workload; begin with a letter from a to z, go "
            f"on with letters, digits, _ and -, {_LONGEST_NAME} at most"
        )
    if yaml.load(name, _Loader) != name:  # `no` and `on` are false and true to YAML 1.1
        raise LockstepError(f"{where}{name!r} is a value and no name to YAML; rename it")
    if name in _RESERVED:
        raise LockstepError(f"{where}{name!r} means something else in params.yaml; rename it")
