"""The training loop: Ho et al. 2020, algorithm 1, with averages of the weights, resumable.

Every random number of a step comes from (seed, step), and everything else is in the checkpoint;
so a training that was interrupted ends in the same bytes as one that was not. Of several processes
each computes its part of every batch; all come to the same numbers, and the first one writes.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from types import FrameType

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lockstep.config.schema import Params, Train
from lockstep.config.weights import file_stem, powers_of
from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.errors import LockstepError, Stopped
from lockstep.data.dataset import Dataset
from lockstep.diffusion import diffusion_loss
from lockstep.models.build import noise_schedule
from lockstep.models.generator import Generator
from lockstep.training import batches, learning_rate, parallel
from lockstep.training.batches import DROPOUT, Batch, random_numbers
from lockstep.training.checkpoint import Checkpoints
from lockstep.training.history import History, Row
from lockstep.training.state import State, begin_or_resume, of

Losses = Callable[[nn.Module, Batch], Tensor]
Log = Callable[[int, Row], None]
Show = Callable[[int, Generator], None]
Curves = Callable[[History], None]
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def train(
    params: Params,
    data: Dataset,
    precision: hardware.Precision,
    checkpoints: Checkpoints,
    log: Log | None = None,
    show: Show | None = None,
    curves: Curves | None = None,
) -> State:
    """Train to `params.train.steps`, from the newest checkpoint if there is one.

    `log(step, {"loss": ..., ...})` is called with each new row of the history; the rows before a
    checkpoint are not repeated to it, but `curves(history)`, called then too, gets all of them.
    `show(step, model)` is called every `params.grid_every_steps` and `params.grid_every_epochs`; it
    must leave the model and torch's random state as they are, and in several processes be given on
    all of them.

    Besides what it gives, `checkpoints` has put aside (`kept`) the weights of the steps
    `params.train.snapshots` as `step_<n>`, with each average of `ema_sigma_rel`, and those of the
    lowest validation loss as `best`.

    Raises `LockstepError` if data and parameters do not fit, the data changes, a loss is not
    finite, or a checkpoint cannot be written; `Stopped` if SIGTERM or Ctrl-C asked to stop, when
    the checkpoint of that step is written.
    """
    hardware.make_deterministic(params.threads)
    with distributed.together():
        batches.check(params, data)
    settings, steps = params.train, params.train.steps
    if steps is None:
        raise ValueError("params.train.steps is None: give `with_steps`")
    losses = _losses(params, precision)
    state = begin_or_resume(params, data, precision, checkpoints)
    unread = _Unread(state)
    bar = tqdm(
        batches.training_batches(data, params, range(state.step, steps)),
        desc=f"train {params.workload}",
        initial=state.step,
        total=steps,
        unit="step",
        mininterval=1,
        disable=not distributed.is_main(),
    )

    def due(every: int) -> bool:
        return state.step % every == 0 or state.step == steps

    def add_row(rows: list[Row], values: Row) -> None:
        rows.append({"step": state.step, **values})
        if log is not None:
            log(state.step, values)
        if curves is not None:
            curves(state.history)

    with _stop_requests() as stop_requested:
        for step, parts in bar:
            factor = learning_rate.factor(
                step, steps=steps, warmup=settings.warmup_steps, decay=settings.lr_schedule
            )
            unread.add(*_update(state, parts, losses, factor, params))
            snaps = state.step in settings.snapshots
            shows = show is not None and _shows(state.step, params, data)
            if snaps or shows or due(settings.log_every) or due(settings.validate_every):
                unread.read()  # nothing is made of weights that went wrong
            if due(settings.log_every):
                mean = fmean(state.history.recent)
                state.history.recent.clear()
                add_row(state.history.train, {"loss": mean, "lr": settings.lr * factor})
                bar.set_postfix(loss=f"{mean:.4f}", refresh=False)
            if due(settings.validate_every):
                with state.best_guess() as model:
                    loss = _validation_loss(model, data, params, losses)
                if loss is not None:
                    before = [row["val_loss"] for row in state.history.validation]
                    add_row(state.history.validation, {"val_loss": loss})
                    if not before or loss < min(before):
                        _keep_weights(state, checkpoints, "best")
            if snaps:
                _keep_weights(state, checkpoints, file_stem(state.step))
                _keep_powers(state, checkpoints, settings)
            if show is not None and shows:
                with state.best_guess() as model:
                    show(state.step, model)
            stopping = distributed.any_of(stop_requested()) and state.step < steps
            if stopping or due(params.checkpoint_every):
                unread.read()
                with distributed.together():
                    data.check_unchanged()
                state.save(checkpoints)
            if stopping:
                distributed.wait()  # until it is written: who ends first ends the others
                distributed.end(
                    Stopped(
                        f"stopped at step {state.step} of {steps}; the same command goes on from "
                        "there"
                    )
                )
    return state


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether one of the signals has come. For the main thread."""
    requested = False

    def request(_signal: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True

    before = [signal.signal(number, request) for number in _SIGNALS]
    try:
        yield lambda: requested
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def kept(params: Params, trained: State) -> list[str]:
    """The names of the weights that a finished training put aside on its way."""
    best = ["best"] if trained.history.validation else []
    snapshots, powers = params.train.snapshots, powers_of(params.train.ema_sigma_rel)
    averages = [file_stem(step, power) for step in snapshots for power in powers]
    return [*best, *map(file_stem, snapshots), *averages]


def _shows(step: int, params: Params, data: Dataset) -> bool:
    """Whether this step fills a whole number of `grid_every_steps` or `grid_every_epochs`."""
    if params.grid_every_steps is not None and step % params.grid_every_steps == 0:
        return True
    if params.grid_every_epochs is None:
        return False
    images = len(data.indices("train")) * params.grid_every_epochs
    batch = params.train.batch_size
    return step * batch // images > (step - 1) * batch // images


def _keep_weights(state: State, checkpoints: Checkpoints, name: str) -> None:
    with state.best_guess() as model:
        weights = of(model)
    if distributed.is_main():
        checkpoints.keep_weights(name, weights)


def _keep_powers(state: State, checkpoints: Checkpoints, settings: Train) -> None:
    """Those of which averages of other widths can be made."""
    for name in powers_of(settings.ema_sigma_rel):
        weights = of(state.averages[name])
        if distributed.is_main():
            checkpoints.keep_weights(file_stem(state.step, name), weights)


def _losses(params: Params, precision: hardware.Precision) -> Losses:
    """`(model, batch) -> (B,)`, the loss of each image."""
    schedule = noise_schedule(params.diffusion)

    def losses(model: nn.Module, batch: Batch) -> Tensor:
        with hardware.autocast(precision):
            return diffusion_loss(
                lambda x, t: model(x, t, batch.condition),
                schedule,
                batch.x0,
                batch.noise,
                batch.t,
                params.diffusion.prediction,
                params.diffusion.min_snr_gamma,
                params.diffusion.snr_plus_one,
            )

    return losses


def _update(
    state: State, parts: list[Batch], losses: Losses, factor: float, params: Params
) -> tuple[Tensor, Tensor]:
    """One step; gives this process's part of the mean loss before it, and the gradient's norm."""
    settings = params.train
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss = torch.zeros((), device=hardware.device())
    for number, part in enumerate(parts):
        _seed_dropout(state.step, number, params)
        with parallel.sharing(state.network, share=number == len(parts) - 1):
            own = losses(state.network, part).sum() / settings.batch_size
            # The processes' gradients are averaged: times their number, that is the sum.
            state.scaler.scale(own * distributed.size()).backward()
        loss += own.detach()
    for optimizer in state.optimizers:
        state.scaler.unscale_(optimizer)
    bound = math.inf if settings.max_grad_norm is None else settings.max_grad_norm
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), bound)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        state.scaler.step(optimizer)
    state.scaler.update()
    state.average_weights(settings)
    state.step += 1
    return loss, parallel.whole(norm).detach()


def _seed_dropout(step: int, part: int, params: Params) -> None:
    """Dropout draws from torch's own generator: from (seed, step) and the part of the batch."""
    if params.model.dropout > 0:
        number = distributed.rank() * params.train.accumulation + part
        random = random_numbers(params.train.seed, DROPOUT, step)
        torch.manual_seed(int(random.integers(2**32, size=number + 1)[number]))


class _Unread:
    """Losses and norms that are still on the device: reading each at once would hold it up."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor) -> None:
        self.losses.append(loss)
        self.norms.append(norm)

    def read(self) -> None:
        """Bring them into the history. Raises `LockstepError` that names a step gone wrong."""
        if not self.losses:
            return
        losses = distributed.total(torch.stack(self.losses)).tolist()
        norms = torch.stack(self.norms).tolist()
        scaled = self.state.scaler.is_enabled()
        for i, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            # A scaler leaves a step out whose gradient overflows, and tries a smaller scale.
            overflow = not math.isfinite(norm) and (not scaled or self.state.scaler.get_scale() < 1)
            if overflow or not math.isfinite(loss):
                distributed.end(
                    LockstepError(
                        f"the loss is {loss} and its gradient's norm {norm:g} at step "
                        f"{self.state.step - len(losses) + i + 1}; nothing after it was saved; "
                        "lower train.lr"
                    )
                )
        self.state.history.recent += losses
        self.losses.clear()
        self.norms.clear()


@torch.no_grad()
def _validation_loss(
    model: Generator, data: Dataset, params: Params, losses: Losses
) -> float | None:
    """Mean loss on the held-out images; None without any."""
    each = [
        distributed.gather(losses(model, batch), count)
        for batch, count in batches.validation_batches(data, params)
    ]
    return torch.cat(each).mean().item() if each else None
