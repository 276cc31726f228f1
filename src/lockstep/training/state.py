"""Everything that changes while training, and its way into a checkpoint and back."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from lockstep import device as hardware
from lockstep.generator import Generator
from lockstep.history import History
from lockstep.params import Params
from lockstep.training import ema
from lockstep.training.batches import INIT, random_numbers
from lockstep.training.checkpoint import Checkpoints

_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


@dataclass
class State:
    """The network, the average of its weights, the optimiser, and the steps done so far."""

    model: Generator
    average: Generator
    optimizer: torch.optim.Optimizer
    history: History
    step: int

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint of this step."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            moments = self.optimizer.state[parameter]
            tensors |= {f"{moment}.{name}": moments[moment] for moment in _MOMENTS}
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        checkpoints.save(self.step, contiguous, asdict(self.history))

    def average_weights(self, decay: float) -> None:
        """Move the average towards the weights as they are now."""
        decay = ema.decay_at(self.step, decay)
        ema.update(list(self.average.parameters()), list(self.model.parameters()), decay)


def begin(params: Params, labels: int) -> State:
    """A fresh state; its weights come from `train.seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(int(random_numbers(params.train.seed, INIT, 0).integers(2**32)))
        model = Generator(params.model.unet(), labels)
    model = hardware.place(model).train()
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        params.train.lr,
        params.train.betas,
        weight_decay=params.train.weight_decay,
        fused=True,
    )
    return State(model, average, optimizer, History(), step=0)


def begin_or_resume(params: Params, labels: int, checkpoints: Checkpoints) -> State:
    """The state of the newest whole checkpoint, or a fresh one."""
    state = begin(params, labels)
    if (found := checkpoints.latest()) is None:
        return state
    state.step, tensors, history = found
    state.history = History(**history)
    state.model.load_state_dict(_part(tensors, "model"))
    state.average.load_state_dict(_part(tensors, "average"))
    moments = {moment: _part(tensors, moment) for moment in _MOMENTS}
    for name, parameter in state.model.named_parameters():
        state.optimizer.state[parameter] = {
            "step": torch.tensor(float(state.step), device=parameter.device),
            # Like the parameter in memory format too: the sums of a step are done in its order.
            **{m: torch.empty_like(parameter).copy_(moments[m][name]) for m in _MOMENTS},
        }
    return state


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    head = f"{prefix}."
    return {name.removeprefix(head): t for name, t in tensors.items() if name.startswith(head)}
