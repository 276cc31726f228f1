"""The multi-label evaluator of i-CLEVR: a ResNet-18 that says which objects an image shows.

Its form is the official one (torchvision's ResNet-18, `fc` = Linear(512, labels) and a sigmoid;
input (B, 3, 64, 64) in [-1, 1]), so that the official weights load.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.core.errors import LockstepError
from lockstep.core.weights import load_weights, save_weights


class Classifier(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, labels) scores in [0, 1]."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.resnet = resnet18(weights=None)
        self.resnet.fc = nn.Sequential(nn.Linear(512, labels), nn.Sigmoid())

    def features(self, images: Tensor) -> Tensor:
        """(B, 512): what the last layer sees."""
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return net.avgpool(x).flatten(1)

    def logits(self, images: Tensor) -> Tensor:
        """(B, labels): the scores before the sigmoid."""
        return self.resnet.fc[0](self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(images))


def official(checkpoint: Path, labels: int) -> Classifier:
    """The evaluator from the official `checkpoint.pth`, {"model": state_dict}.

    It is read with `weights_only=True`: no code in the file is run. Raises `LockstepError` if the
    file is missing, is no such checkpoint, or its weights have other shapes.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LockstepError(f"{checkpoint}: no such file; evaluator.checkpoint names it") from None
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


def save(model: Classifier, folder: Path) -> None:
    """Write `classifier.safetensors` into an existing folder."""
    save_weights(model.state_dict(), folder / "classifier.safetensors")


def load(folder: Path, labels: int) -> Classifier:
    """What `save` wrote, in evaluation mode. Raises `LockstepError` if it is damaged."""
    model = Classifier(labels)
    load_weights(model, folder / "classifier.safetensors")
    return hardware.place(model).eval()


@torch.inference_mode()
def scores(model: nn.Module, images: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, ...) scores in [0, 1], in fp32, in batches of 256.

    Several processes share the images, and each gets all scores.
    """
    device = next(model.parameters()).device
    own = images[distributed.share(len(images))]
    each = [model(batch.to(device)).float().cpu() for batch in own.split(256)]
    return distributed.gather(torch.cat(each), len(images))
