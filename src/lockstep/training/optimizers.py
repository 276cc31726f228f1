"""The optimisers of `train.optimizer`."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from lockstep.core.device import Precision
from lockstep.training.muon import Muon, matrices_of


class Settings(Protocol):
    """What they are made by: see `train` in params.yaml."""

    @property
    def optimizer(self) -> str: ...
    @property
    def lr(self) -> float: ...
    @property
    def muon_lr(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def betas(self) -> tuple[float, float]: ...


def make(model: nn.Module, settings: Settings, precision: Precision) -> list[torch.optim.Optimizer]:
    """One or, with `muon`, two optimisers of all parameters, their moments all zero.

    Each group of parameters has its peak rate as `initial_lr`.
    """
    rest, made = list(model.parameters()), list[torch.optim.Optimizer]()
    if settings.optimizer == "muon":
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        matrices = matrices_of(model)
        made = [Muon(matrices, settings.muon_lr, weight_decay=settings.weight_decay, dtype=dtype)]
        taken = {id(matrix) for matrix in matrices}
        rest = [parameter for parameter in rest if id(parameter) not in taken]
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    adam = kind(rest, settings.lr, settings.betas, weight_decay=settings.weight_decay, fused=True)
    for parameter in rest:
        adam.state[parameter] = _moments(parameter)
    made.append(adam)
    for group in (group for each in made for group in each.param_groups):
        group["initial_lr"] = group["lr"]
    return made


def _moments(parameter: Tensor) -> dict[str, Tensor]:
    """Of Adam's state before its first step."""
    return {
        "step": torch.zeros((), device=parameter.device),
        # Like the parameter in memory format too: a step's sums are done in its order.
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
