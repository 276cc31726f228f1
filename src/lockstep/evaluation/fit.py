"""How an evaluator learns, whatever it is to say of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError
from lockstep.core.processes import progress
from lockstep.training.learning_rate import factor

M = TypeVar("M", bound=nn.Module)


def fit(
    build: Callable[[], M],
    loss: Callable[[M, NDArray[np.int64]], Tensor],
    images: int,
    params: Params,
    views: int = 1,
) -> M:
    """A workload's evaluator from some images; AdamW, warm-up and half a cosine.

    `build` gives the untrained network, whose random weights come from `evaluator.seed`, and `loss`
    a scalar from it and some of 0 .. images * views - 1, under autocast: what is delicate has to be
    made fp32 in it. An epoch has all `views` of each image, such as it and its mirror image. Raises
    `LockstepError` if there are fewer images than a batch has.
    """
    settings, count = params.evaluator, images * views
    precision = hardware.resolve_precision(settings.precision, "evaluator.precision")
    if images < settings.batch_size:
        raise LockstepError(
            f"dataset.evaluator: leaves {images} images to train the evaluator on, fewer "
            f"than evaluator.batch_size ({settings.batch_size}); raise it"
        )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = build()
    model = hardware.place(model).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    # Whole batches only: the batch norms of a short last one would see too few images.
    per_epoch = count // settings.batch_size
    steps = settings.epochs * per_epoch
    random = np.random.default_rng(settings.seed)
    epochs = (random.permutation(count) for _ in range(settings.epochs))
    batches = (
        order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        for order in epochs
        for batch in range(per_epoch)
    )
    bar = progress(f"evaluator {params.workload}", "step")
    for step, chosen in enumerate(bar(batches, steps)):
        rate = factor(step, steps=steps, warmup=min(100, steps // 10), decay="cosine")
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * rate
        with hardware.autocast(precision):
            mean = loss(model, chosen)
        optimizer.zero_grad(set_to_none=True)
        mean.backward()
        optimizer.step()
    return model.eval()
