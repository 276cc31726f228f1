"""Training an evaluator, and measuring it on pictures it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lockstep import device as hardware
from lockstep.errors import LockstepError
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.evaluation.classifier import Classifier, scores
from lockstep.evaluation.examples import Examples
from lockstep.params import Judge
from lockstep.pixels import to_tensor
from lockstep.training.learning_rate import factor

_AT_ONCE = 1024


def train(
    examples: Examples,
    settings: Judge,
    precision: hardware.Precision,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> Classifier:
    """An evaluator from pictures that no generator sees.

    AdamW, warm-up and half a cosine; a binary cross-entropy for each label.

    Raises
    ------
    LockstepError
        If there are fewer pictures than a batch has.
    """
    count, labels = examples.labels.shape
    if count < settings.batch_size:
        raise LockstepError(
            f"dataset.judge: leaves {count} pictures to train the evaluator on, fewer "
            f"than judge.batch_size ({settings.batch_size}); raise it"
        )
    device = hardware.device()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = Classifier(labels)
    # Start from each label's frequency, not from one half: the first steps need not learn it.
    frequency = torch.from_numpy(examples.labels).double().mean(0).clamp(1e-3, 1 - 1e-3)
    with torch.no_grad():
        model.resnet.fc[0].bias.copy_(torch.logit(frequency))
    model = hardware.place(model).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    # Whole batches only: the batch norms of a short last one would see too few pictures.
    per_epoch = count // settings.batch_size
    steps = settings.epochs * per_epoch
    random = np.random.default_rng(settings.seed)
    epochs = (random.permutation(count) for _ in range(settings.epochs))
    batches = (
        order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        for order in epochs
        for batch in range(per_epoch)
    )
    for step, chosen in enumerate(progress(batches, steps)):
        pictures = to_tensor(examples.pictures(chosen)).to(device)
        target = torch.from_numpy(examples.labels[chosen]).float().to(device)
        rate = factor(step, steps=steps, warmup=min(100, steps // 10), decay="cosine")
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * rate
        with hardware.autocast(precision):
            logits = model.logits(pictures)
        # Through logits: a sigmoid in bf16 is exactly 1 far too early.
        loss = F.binary_cross_entropy_with_logits(logits.float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return model.eval()


def accuracy(model: Classifier, examples: Examples) -> float | None:
    """Micro top-k accuracy on examples it has not seen; None if there are none."""
    count = len(examples.labels)
    if count == 0:
        return None
    batches = np.array_split(np.arange(count), -(-count // _AT_ONCE))
    found = [scores(model, to_tensor(examples.pictures(chosen))) for chosen in batches]
    return top_k_accuracy(torch.cat(found), torch.from_numpy(examples.labels))
