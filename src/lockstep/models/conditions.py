"""What images are to show, as a generator reads it, and that nothing is said of some of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditions:
    """The conditions of B images.

    Parameters
    ----------
    values
        Labels (B, L), multi-hot, where L is 0 if the generator has no condition; word ids (B, L);
        or contexts (B, L, D) of a frozen encoder.
    given
        (B,) booleans: False where nothing is said, whatever stands in `values`. This is what
        classifier-free guidance calls unconditional (Ho & Salimans 2022, arXiv:2207.12598).
    """

    values: Tensor
    given: Tensor

    @staticmethod
    def of(values: Tensor) -> Conditions:
        """Values that all count."""
        return Conditions(values, torch.ones(len(values), dtype=torch.bool, device=values.device))

    @staticmethod
    def none(count: int) -> Conditions:
        """For a generator that has no condition."""
        return Conditions.of(torch.zeros(count, 0))

    def null(self) -> Conditions:
        """The same images with nothing said of any."""
        return Conditions(self.values, torch.zeros_like(self.given))

    def to(self, device: torch.device) -> Conditions:
        """The same on another device."""
        return Conditions(self.values.to(device), self.given.to(device))

    def expand(self, count: int) -> Conditions:
        """One image's conditions for so many images."""
        return Conditions(
            self.values.expand(count, *self.values.shape[1:]), self.given.expand(count)
        )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice | list[int] | Tensor) -> Conditions:
        return Conditions(self.values[index], self.given[index])
