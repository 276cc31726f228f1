"""What is encoded of a data set besides its images, by the kind of the condition.

A module of this registry has `write_rows(params, data, out)`. Labels stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from lockstep.config.schema import Params
from lockstep.core.registry import Registry

if TYPE_CHECKING:
    from lockstep.data.dataset import Dataset


class TextEncoder(Protocol):
    """A module of the registry."""

    def write_rows(self, params: Params, data: Dataset, out: Path) -> None: ...


REGISTRY: Registry[Params] = Registry(
    lambda params: params.condition, {"prompts": "lockstep.data.prompts"}
)


def texts_of(params: Params) -> TextEncoder | None:
    """The module for a workload's condition; None where no text is read."""
    return cast(TextEncoder | None, REGISTRY.load(params))
