"""The multi-label evaluator of i-CLEVR: a ResNet-18 that says which objects a picture shows.

Its form is the official one (torchvision's ResNet-18, `fc` = Linear(512, labels) and a sigmoid;
input (B, 3, 64, 64) in [-1, 1]), so that the official weights load.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

from lockstep import device as hardware
from lockstep.dataset import Dataset
from lockstep.errors import LockstepError
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.params import Judge
from lockstep.pictures import to_tensor
from lockstep.training.learning_rate import factor


class Classifier(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, labels) scores in [0, 1]."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.resnet = resnet18(weights=None)
        self.resnet.fc = nn.Sequential(nn.Linear(512, labels), nn.Sigmoid())

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 512): what the last layer sees."""
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(net.conv1(pictures))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return net.avgpool(x).flatten(1)

    def logits(self, pictures: Tensor) -> Tensor:
        """(B, labels): the scores before the sigmoid."""
        return self.resnet.fc[0](self.features(pictures))

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(pictures))


def official(checkpoint: Path, labels: int) -> Classifier:
    """The evaluator from the official `checkpoint.pth`, {"model": state_dict}.

    It is read with `weights_only=True`: no code in the file is run.

    Raises
    ------
    LockstepError
        If the file is missing, is no such checkpoint, or its weights have other shapes.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LockstepError(f"{checkpoint}: no such file; judge.checkpoint names it") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LockstepError(f"{checkpoint}: not a checkpoint of weights: {reason}") from None
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise LockstepError(f'{checkpoint}: has no "model"; the official file is that')
    model = Classifier(labels)
    try:
        model.resnet.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise LockstepError(f"{checkpoint}: not this evaluator's weights: {reason}") from None
    return model.eval()


def train(
    data: Dataset,
    settings: Judge,
    precision: hardware.Precision,
    progress: Callable[[Iterable[int], int], Iterable[int]],
) -> Classifier:
    """An evaluator from the data set's `judge_train` pictures, which no generator sees.

    AdamW, warm-up and half a cosine; a binary cross-entropy for each label. Half of the pictures
    of a batch are mirrored: which objects are there does not depend on left and right.
    """
    positions = data.indices("judge_train")
    device = hardware.device()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = Classifier(data.conditions.shape[1])
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    # A batch of one picture has no variance for the batch norms; a short last one is left out.
    per_epoch = max(1, len(positions) // settings.batch_size)
    steps = settings.epochs * per_epoch
    for step in progress(range(steps), steps):
        epoch, batch = divmod(step, per_epoch)
        order = np.random.default_rng([settings.seed, epoch]).permutation(positions)
        chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
        pictures = to_tensor(data.pictures[chosen]).to(device)
        mirrored = np.random.default_rng([settings.seed, epoch, batch]).random(len(chosen)) < 0.5
        pictures[mirrored] = pictures[mirrored].flip(-1)
        target = torch.from_numpy(data.conditions[chosen]).float().to(device)
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


@torch.inference_mode()
def scores(model: Classifier, pictures: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, labels) scores in [0, 1], in fp32, in batches of 256."""
    device = next(model.parameters()).device
    return torch.cat([model(batch.to(device)).cpu() for batch in pictures.split(256)])


def held_out_accuracy(model: Classifier, data: Dataset) -> float | None:
    """Micro top-k accuracy on the `judge_validation` pictures; None if there are none."""
    positions = data.indices("judge_validation")
    if len(positions) == 0:
        return None
    found = scores(model, to_tensor(data.pictures[positions]))
    return top_k_accuracy(found, torch.from_numpy(data.conditions[positions]))
