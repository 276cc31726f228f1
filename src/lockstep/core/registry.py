"""Kinds of things that parameters name, each in a module of its own that is imported when asked
for: a workload loads, and depends on, the code of its own kinds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, TypeVar

Owner = TypeVar("Owner")


class Registry(Generic[Owner]):
    """Modules, by dotted name, for the kinds that owners (the parameters in force, say) name.

    A kind without a module has nothing to do here.
    """

    def __init__(self, kind_of: Callable[[Owner], Hashable], modules: Mapping[Any, str]) -> None:
        self._kind_of = kind_of
        self._modules = modules

    def module(self, owner: Owner) -> str | None:
        """The dotted name of the module for this owner; None if its kind has none."""
        return self._modules.get(self._kind_of(owner))

    def load(self, owner: Owner) -> ModuleType | None:
        """The module itself."""
        name = self.module(owner)
        return None if name is None else import_module(name)
