"""Time to the same validation loss: same weights, same batches, each side with its own step."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks import turns
from benchmarks.models import SHAPES, SIDES, contestants
from benchmarks.training import BATCH, Batch, loss_of, trainer
from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.synthetic.raycaster import draw
from lockstep.synthetic.scenes import sample_scene

_SHAPE, _IMAGES, _EVERY = "quick", 256, 20


def measure(precision: hardware.Precision, steps: int) -> tuple[float, dict[str, float]]:
    """(the loss that the last side to reach it has after `steps` steps, seconds of each side).

    The time of validation itself is not counted.
    """
    images = _scenes()
    held_out = [_batch(images[-64:], seed=10**6 + i) for i in range(4)]
    sides = contestants(_SHAPE, SIDES)
    trainers = {side: trainer(contestant, precision) for side, contestant in sides.items()}
    for side in sides:  # warmed up on a batch of its own
        trainers[side](_batch(images[:BATCH], seed=10**7))
    curves: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    clock = dict.fromkeys(curves, 0.0)
    for step in range(1, steps + 1):
        chosen = np.random.default_rng([1, step]).choice(_IMAGES - 64, BATCH, replace=False)
        batch = _batch(images[chosen], seed=step)
        for side in sides:
            clock[side] += turns.once(partial(trainers[side], batch))
        if step % _EVERY == 0:
            for side, contestant in sides.items():
                with torch.no_grad():
                    losses = [loss_of(contestant, b, precision).item() for b in held_out]
                curves[side].append((float(np.mean(losses)), clock[side]))
    # The lowest loss that all of them have reached.
    goal = max(min(loss for loss, _ in curve) for curve in curves.values())
    reached = {
        side: next(at for loss, at in curve if loss <= goal) for side, curve in curves.items()
    }
    return goal, reached


def _scenes() -> torch.Tensor:
    return to_tensor(draw([sample_scene(0, i, count=3) for i in range(_IMAGES)]))


def _batch(images: torch.Tensor, seed: int) -> Batch:
    device, random = hardware.device(), torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=random)
    t = torch.randint(1000, (len(images),), generator=random)
    condition = torch.zeros(len(images), SHAPES[_SHAPE].embedding_dim)
    return images.to(device), noise.to(device), t.to(device), condition.to(device)
