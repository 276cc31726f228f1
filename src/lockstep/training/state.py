"""Everything that changes while training, and its way into a checkpoint and back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from lockstep.config.schema import Params, Train
from lockstep.config.weights import averages_of
from lockstep.core import device as hardware
from lockstep.core import distributed, paths
from lockstep.data.dataset import Dataset
from lockstep.models.build import untrained
from lockstep.models.generator import Generator
from lockstep.models.initial import load_initial
from lockstep.training import ema, optimizers, parallel
from lockstep.training.batches import INIT, random_numbers
from lockstep.training.checkpoint import Checkpoint, Checkpoints
from lockstep.training.history import History


@dataclass
class State:
    """The network, the averages of its weights, the optimisers, and the steps done so far.

    `network` is what a training step calls: the model, or what shares its gradients.
    """

    model: Generator
    network: nn.Module
    averages: dict[str, Generator]
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    history: History
    step: int

    @contextmanager
    def best_guess(self) -> Iterator[Generator]:
        """The network whose images count, in evaluation mode for the time of a block.

        It is the first average, or the model if there is none.
        """
        model = next(iter(self.averages.values()), self.model)
        training = model.training
        try:
            yield model.eval()
        finally:
            model.train(training)

    def average_weights(self, settings: Train) -> None:
        """Move each average towards the weights as they are now."""
        for name, decay_at in ema.profiles(settings).items():
            average = self.averages[name].parameters()
            ema.update(average, self.model.parameters(), decay_at(self.step))

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint of this step. All processes take part, the first one writes."""
        tensors = {name: _for_file(tensor) for name, tensor in self._tensors()}
        record = {
            "history": asdict(self.history),
            "optimizer_steps": self._optimizer_steps(),
            "scaler": self.scaler.state_dict(),
        }
        if distributed.is_main():
            checkpoints.save(Checkpoint(self.step, tensors, record))

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Take over the first process's checkpoint; None on the others."""
        about = None if checkpoint is None else (checkpoint.step, checkpoint.record)
        self.step, record = distributed.from_main(about)
        self.history = History(**record["history"])
        self.scaler.load_state_dict(record["scaler"])
        for state in self._optimizer_states().values():
            if "step" in state:
                state["step"].fill_(record["optimizer_steps"])
        for name, tensor in self._tensors():
            parallel.fill(tensor, checkpoint.tensors[name] if checkpoint else None)

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """The weights of each average and the `last` ones, whole. All processes take part."""
        return {name: of(model) for name, model in {**self.averages, "last": self.model}.items()}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for part, model in {"model": self.model, **self.averages}.items():
            for name, tensor in model.state_dict().items():
                yield f"{part}.{name}", tensor
        states = self._optimizer_states()
        for name, parameter in self.model.named_parameters():
            for moment, tensor in states[parameter].items():
                if moment != "step":
                    yield f"{moment}.{name}", tensor

    def _optimizer_states(self) -> dict[Tensor, dict[str, Tensor]]:
        """Each parameter's moments and, with Adam, the number of its steps."""
        return {key: state for each in self.optimizers for key, state in each.state.items()}

    def _optimizer_steps(self) -> int:
        """Fewer than `step` where fp16 overflowed and the scaler left a step out."""
        return next(int(s["step"]) for s in self._optimizer_states().values() if "step" in s)


def of(model: Generator) -> dict[str, Tensor]:
    """The weights of a model that may be spread over the processes, whole, for a file."""
    return {name: _for_file(tensor) for name, tensor in model.state_dict().items()}


def _for_file(tensor: Tensor) -> Tensor:
    here = parallel.whole(tensor)
    # Only the first process writes: the others need not keep what they helped to put together.
    return here.cpu().contiguous() if distributed.is_main() else here.new_empty(0)


def begin(params: Params, data: Dataset, precision: hardware.Precision) -> State:
    """A fresh state: weights from `train.seed`, or those that `train.init_from` names."""
    settings = params.train
    with torch.random.fork_rng():
        torch.manual_seed(int(random_numbers(settings.seed, INIT, 0).integers(2**32)))
        model = untrained(params, data)
    if settings.init_from is not None:
        with distributed.together():
            load_initial(model, paths.home() / settings.init_from)
    names = averages_of(settings.ema_decay, settings.ema_sigma_rel)
    copies = [copy.deepcopy(model).eval().requires_grad_(False) for _ in names]
    model, *averages = parallel.place([model.train(), *copies], settings.parallel)
    if settings.compile:
        hardware.check_compiler("train.compile")
        model.compile()
    return State(
        model=model,
        network=parallel.share_gradients(model),
        averages=dict(zip(names, averages, strict=True)),
        optimizers=optimizers.make(model, settings, precision),
        scaler=torch.amp.GradScaler(hardware.device().type, enabled=precision == "fp16"),
        history=History(),
        step=0,
    )


def begin_or_resume(
    params: Params, data: Dataset, precision: hardware.Precision, checkpoints: Checkpoints
) -> State:
    """The state of the newest whole checkpoint, or a fresh one."""
    state = begin(params, data, precision)
    found = checkpoints.latest() if distributed.is_main() else None
    if distributed.from_main(found is not None):
        state.restore(found)
    return state
