"""The training loop: Ho et al. 2020, algorithm 1, with an average of the weights, resumable.

Every random number of a step comes from (seed, step), and everything else is in the checkpoint;
so a training that was interrupted ends in the same bytes as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean

import torch
from torch import Tensor
from tqdm import tqdm

from lockstep import device as hardware
from lockstep.dataset import Dataset
from lockstep.diffusion import NoiseSchedule, diffusion_loss
from lockstep.errors import LockstepError, Stopped
from lockstep.generator import Generator
from lockstep.history import Row
from lockstep.params import Params
from lockstep.training import learning_rate
from lockstep.training.batches import (
    DROPOUT,
    Batch,
    random_numbers,
    training_batch,
    validation_batches,
)
from lockstep.training.checkpoint import Checkpoints
from lockstep.training.interrupt import stop_requests
from lockstep.training.state import State, begin_or_resume

Losses = Callable[[Generator, Batch], Tensor]
Log = Callable[[int, Row], None]


def train(
    params: Params,
    data: Dataset,
    precision: hardware.Precision,
    checkpoints: Checkpoints,
    log: Log,
) -> State:
    """Train to `params.train.steps`, from the newest checkpoint if there is one.

    `log(step, {"loss": ..., ...})` is called with each new row of the history; the rows before a
    checkpoint are not repeated to it.

    Raises
    ------
    LockstepError
        If the loss is not finite.
    Stopped
        If SIGTERM or Ctrl-C asked to stop; the checkpoint of that step is written.
    """
    hardware.make_deterministic(params.threads)
    settings = params.train
    losses = _losses(params, precision)
    state = begin_or_resume(params, data.conditions.shape[1], checkpoints)
    bar = tqdm(
        range(state.step, settings.steps),
        desc=f"train {params.workload}",
        initial=state.step,
        total=settings.steps,
        unit="step",
        mininterval=1,
    )

    def due(every: int) -> bool:
        return state.step % every == 0 or state.step == settings.steps

    with stop_requests() as stop_requested:
        for step in bar:
            rate = learning_rate.at(step, settings)
            loss = _update(state, training_batch(data, params, step), losses, rate, params)
            state.history.recent.append(loss)
            if due(settings.log_every):
                mean = fmean(state.history.recent)
                state.history.recent.clear()
                _add_row(state.history.train, log, state.step, {"loss": mean, "lr": rate})
                bar.set_postfix(loss=f"{mean:.4f}", refresh=False)
            if due(settings.validate_every):
                validation_loss = _validation_loss(state.average, data, params, losses)
                if validation_loss is not None:
                    row = {"val_loss": validation_loss}
                    _add_row(state.history.validation, log, state.step, row)
            stopping = stop_requested() and state.step < settings.steps
            if stopping or due(params.checkpoint_every):
                state.save(checkpoints)
            if stopping:
                raise Stopped(
                    f"stopped at step {state.step} of {settings.steps}; the same command goes on "
                    "from there"
                )
    return state


def _losses(params: Params, precision: hardware.Precision) -> Losses:
    """`(model, batch) -> (B,)`, the loss of each picture."""
    schedule: NoiseSchedule = params.diffusion.noise_schedule()

    def losses(model: Generator, batch: Batch) -> Tensor:
        with hardware.autocast(precision):
            return diffusion_loss(
                lambda x, t: model(x, t, batch.condition),
                schedule,
                batch.x0,
                batch.noise,
                batch.t,
                params.diffusion.prediction,
                params.diffusion.min_snr_gamma,
            )

    return losses


def _update(state: State, batch: Batch, losses: Losses, rate: float, params: Params) -> float:
    """One step of the optimiser and of the average; gives the mean loss before it.

    Raises
    ------
    LockstepError
        If the loss or its gradient is not finite; the weights are then as they were.
    """
    # Dropout draws from torch's own generator.
    dropout = random_numbers(params.train.seed, DROPOUT, state.step)
    torch.manual_seed(int(dropout.integers(2**32)))
    loss = losses(state.model, batch).mean()
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    bound = math.inf if params.train.max_grad_norm is None else params.train.max_grad_norm
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), bound)
    if not (math.isfinite(value := loss.item()) and math.isfinite(norm)):
        raise LockstepError(
            f"the loss is {value} and its gradient's norm {norm:g} at step {state.step}; the last "
            "checkpoint is from before; lower train.lr"
        )
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.average_weights(params.train.ema_decay)
    state.step += 1
    return value


def _add_row(rows: list[Row], log: Log, step: int, values: Row) -> None:
    rows.append({"step": step, **values})
    log(step, values)


@torch.no_grad()
def _validation_loss(
    model: Generator, data: Dataset, params: Params, losses: Losses
) -> float | None:
    """Mean loss on the held-out pictures; None without any."""
    each = [losses(model, batch) for batch in validation_batches(data, params)]
    return torch.cat(each).mean().item() if each else None
