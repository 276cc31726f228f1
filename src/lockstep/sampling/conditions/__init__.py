"""What generated images are to show, by the kind of the condition.

A module of this registry has

- `targets(params) -> Targets`: what the sample stage generates for each seed;
- `read(folder, texts) -> Conditions`: what somebody asks a trained model in `folder` for, a text
  an image (None where there is none);
- `warnings(folder, text)`: a line for each way in which the model does not read all of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from lockstep.config.schema import Condition, Params
from lockstep.core.registry import Registry

if TYPE_CHECKING:
    from lockstep.models.conditions import Conditions
    from lockstep.sampling.targets import Targets


class ConditionKind(Protocol):
    """A module of the registry."""

    def targets(self, params: Params) -> Targets: ...

    def read(self, folder: Path, texts: Sequence[str | None]) -> Conditions: ...

    def warnings(self, folder: Path, text: str | None) -> list[str]: ...


_MODULES: dict[Condition, str] = {
    "none": "lockstep.sampling.conditions.none",
    "classes": "lockstep.sampling.conditions.classes",
    "labels": "lockstep.sampling.conditions.labels",
    "prompts": "lockstep.sampling.conditions.prompts",
}

REGISTRY: Registry[Params] = Registry(lambda params: params.condition, _MODULES)


def condition_of(params: Params) -> ConditionKind:
    """The module for a workload's condition."""
    return condition_called(params.condition)


def condition_called(kind: Condition) -> ConditionKind:
    """The module of a kind, as a model's description has it."""
    return cast(ConditionKind, import_module(_MODULES[kind]))
