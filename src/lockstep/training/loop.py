"""The training loop: Ho et al. 2020, algorithm 1, with an EMA, exactly resumable.

Every random number of a step comes from a generator made of (seed, step), and everything else is
in the checkpoint; so a training that was interrupted ends in the same bytes as one that was not.
"""

from __future__ import annotations

import copy
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import fmean
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lockstep import device as hardware
from lockstep.dataset import Dataset
from lockstep.diffusion import diffusion_loss
from lockstep.errors import LockstepError
from lockstep.generator import Generator
from lockstep.history import History, Row
from lockstep.params import Params
from lockstep.pictures import to_tensor
from lockstep.training import ema, learning_rate
from lockstep.training.checkpoint import Checkpoints

# Streams of random numbers that must never meet: (seed, stream, index) seeds a generator.
_INIT, _ORDER, _STEP, _VALIDATION = range(4)
_VALIDATION_PICTURES = 256


@dataclass(frozen=True)
class Trained:
    model: Generator
    average: Generator
    history: History


def random_numbers(seed: int, stream: int, index: int) -> np.random.Generator:
    """The random numbers of (seed, stream, index), independent of all others.

    numpy's, since torch's CPU generator reads only 32 bits of its seed: among some 80,000 steps
    two would meet.
    """
    return np.random.default_rng([seed, stream, index])


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return random_numbers(seed, _ORDER, epoch).permutation(count)


def batch_positions(seed: int, step: int, batch_size: int, count: int) -> NDArray[np.int64]:
    """Which of `count` pictures make up the batch of a step.

    The batches cut an endless row of shuffled epochs into pieces: each epoch has every picture
    once, and a batch may reach over the end of one into the next.
    """
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    return np.array([_epoch_order(seed, p // count, count)[p % count] for p in places.tolist()])


def train(
    params: Params,
    data: Dataset,
    precision: hardware.Precision,
    checkpoints: Checkpoints,
    log: Callable[[int, Row], None],
) -> Trained:
    """Train to `params.train.steps`, from the newest checkpoint if there is one.

    `log(step, {"loss": ..., ...})` is called with each new row of the history; the rows before a
    checkpoint are not repeated to it.

    Raises
    ------
    LockstepError
        If the loss is not finite, or if a signal asked to stop: a checkpoint is there then.
    """
    settings = params.train
    device = hardware.device()
    hardware.make_deterministic(params.threads)
    schedule = params.diffusion.noise_schedule()
    compute_loss = partial(
        diffusion_loss,
        schedule=schedule,
        prediction=params.diffusion.prediction,
        min_snr_gamma=params.diffusion.min_snr_gamma,
    )
    positions = data.indices("train")
    labels = data.conditions.shape[1]

    with torch.random.fork_rng():
        torch.manual_seed(int(random_numbers(settings.seed, _INIT, 0).integers(2**32)))
        model = Generator(params.model.unet(), labels)
    model = hardware.place(model)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        settings.lr,
        settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    history = History()
    first_step = 0
    if (found := checkpoints.latest()) is not None:
        first_step, state, rows = found
        _restore(model, average, optimizer, first_step, state)
        history = History(**rows)

    def save(step: int) -> None:
        checkpoints.save(step, _state(model, average, optimizer), vars(history))

    def row(rows: list[Row], step: int, values: Row) -> None:
        rows.append({"step": step, **values})
        log(step, values)

    bar = tqdm(
        range(first_step, settings.steps),
        desc=f"train {params.workload}",
        initial=first_step,
        total=settings.steps,
        unit="step",
        mininterval=1,
    )
    with _stop_requests() as stop_requested:
        for step in bar:
            rate = settings.lr * learning_rate.factor(
                step, steps=settings.steps, warmup=settings.warmup_steps, decay=settings.lr_schedule
            )
            for group in optimizer.param_groups:
                group["lr"] = rate

            random = random_numbers(settings.seed, _STEP, step)
            chosen = positions[
                batch_positions(settings.seed, step, settings.batch_size, len(positions))
            ]
            x0, condition = load_batch(data, chosen, device)
            noise = _normal(random, x0)
            t = torch.from_numpy(random.integers(schedule.timesteps, size=len(x0))).to(device)
            # Ho & Salimans 2022: a condition is dropped per picture, not per batch.
            kept = random.random((len(x0), 1)) >= settings.condition_dropout
            condition = condition * torch.from_numpy(kept).to(device)

            model.train()
            with hardware.autocast(precision):
                network = partial(_conditioned, model, condition)
                loss = compute_loss(network, x0=x0, noise=noise, t=t).mean()
            if not math.isfinite(value := loss.item()):
                raise LockstepError(
                    f"the loss is {value} at step {step}; lower train.lr "
                    f"(the last good checkpoint is kept in {checkpoints.folder})"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            ema.update(
                list(average.parameters()),
                list(model.parameters()),
                ema.decay_at(step, settings.ema_decay),
            )

            history.recent.append(value)
            done = step + 1
            last = done == settings.steps
            if done % settings.log_every == 0 or last:
                row(history.train, done, {"loss": fmean(history.recent), "lr": rate})
                bar.set_postfix(loss=f"{history.train[-1]['loss']:.4f}", refresh=False)
                history.recent.clear()
            if done % settings.validate_every == 0 or last:
                losses = validation_loss(average, data, compute_loss, params, precision)
                if losses is not None:
                    row(history.validation, done, {"val_loss": losses})
            if last or stop_requested() or done % settings.checkpoint_every == 0:
                save(done)
            if stop_requested() and not last:
                raise LockstepError(
                    f"stopped at step {done} of {settings.steps}; the same command goes on "
                    "from there"
                )
    return Trained(model, average, history)


def _normal(random: np.random.Generator, like: Tensor) -> Tensor:
    """Standard normal noise in the shape and memory format of `like`, drawn on the CPU."""
    drawn = torch.from_numpy(random.standard_normal(like.shape, np.float32))
    return drawn.to(like.device, memory_format=torch.channels_last)


def _conditioned(model: Generator, condition: Tensor, x: Tensor, t: Tensor) -> Tensor:
    return model(x, t, condition)


def load_batch(
    data: Dataset, positions: NDArray[np.int64], device: torch.device
) -> tuple[Tensor, Tensor]:
    """((B, 3, H, W) in [-1, 1], (B, C) multi-hot float) of the pictures at `positions`."""
    pictures = to_tensor(data.pictures[positions]).to(device)
    return pictures, torch.from_numpy(data.conditions[positions]).float().to(device)


@torch.no_grad()
def validation_loss(
    model: Generator,
    data: Dataset,
    compute_loss: Callable[..., Tensor],
    params: Params,
    precision: hardware.Precision,
) -> float | None:
    """Mean loss on held-out pictures, always the same noise and timesteps; None without any.

    At most 256 pictures; the timesteps are spread evenly, so that the figure's noise is the
    model's and not the draw's.
    """
    positions = data.indices("validation")[:_VALIDATION_PICTURES]
    if len(positions) == 0:
        return None
    device = next(model.parameters()).device
    random = random_numbers(params.train.seed, _VALIDATION, 0)
    spread = np.linspace(0, params.diffusion.timesteps - 1, len(positions)).round()
    levels = torch.from_numpy(random.permutation(spread.astype(np.int64))).to(device)
    total = 0.0
    for start in range(0, len(positions), 64):
        chosen = positions[start : start + 64]
        x0, condition = load_batch(data, chosen, device)
        noise, t = _normal(random, x0), levels[start : start + 64]
        with hardware.autocast(precision):
            network = partial(_conditioned, model, condition)
            total += compute_loss(network, x0=x0, noise=noise, t=t).sum().item()
    return total / len(positions)


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C become a question the loop can ask between two steps."""
    requested = False

    def request(_signal: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True

    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(s, request) for s in signals]
    try:
        yield lambda: requested
    finally:
        for s, handler in zip(signals, before, strict=True):
            signal.signal(s, handler)


_MOMENTS = ("exp_avg", "exp_avg_sq")


def _state(
    model: Generator, average: Generator, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Everything that changes while training, as one flat dict of tensors."""
    state = {f"model.{k}": v for k, v in model.state_dict().items()}
    state |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for name, parameter in model.named_parameters():
        moments = optimizer.state[parameter]
        state |= {f"{moment}.{name}": moments[moment] for moment in _MOMENTS}
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _restore(
    model: Generator,
    average: Generator,
    optimizer: torch.optim.Optimizer,
    step: int,
    state: dict[str, Tensor],
) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {
            k.removeprefix(f"{prefix}."): v for k, v in state.items() if k.startswith(f"{prefix}.")
        }

    model.load_state_dict(part("model"))
    average.load_state_dict(part("average"))
    moments = {moment: part(moment) for moment in _MOMENTS}
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device),
            **{m: torch.empty_like(parameter).copy_(moments[m][name]) for m in _MOMENTS},
        }
