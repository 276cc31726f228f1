"""The evaluator of images with a sentence: which objects an image shows, where, and how large.

An object is one of i-CLEVR's 24, by its `lockstep.synthetic.scenes.object_id`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from lockstep.core import device as hardware
from lockstep.core.pixels import to_tensor
from lockstep.core.provenance import read_provenance
from lockstep.core.weights import load_weights, save_weights
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.evaluation import classifier
from lockstep.evaluation.rows import Rows

OBJECTS = len(SHAPES) * len(COLOURS)
_SAYS = 4  # of each object: present, x, y, large
# What an evaluator of captions has learnt, in its provenance: scenes, or else rotations.
SCENES, ROTATIONS = "scenes", "rotations"


class Detections(NamedTuple):
    """What is said of each object in N images; place and size mean something if it is there.

    `present` (N, 24) and `large` (N, 24) are scores in [0, 1]; `place` (N, 24, 2) is the object's
    centre in [0, 1], from the left and from the top, in sides of the image.
    """

    present: Tensor
    place: Tensor
    large: Tensor


class SceneEvaluator(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, 24, 4) in [0, 1]: the parts of `Detections` in one tensor.

    torchvision's ResNet-18 with one linear layer on its features, and a sigmoid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet18(weights=None)
        self.trunk.fc = nn.Identity()
        self.head = nn.Linear(512, OBJECTS * _SAYS)

    def features(self, images: Tensor) -> Tensor:
        """(B, 512): what the last layer sees."""
        return self.trunk(images)

    def logits(self, images: Tensor) -> Tensor:
        """(B, 24, 4): what is said, before the sigmoid."""
        return self.head(self.features(images)).unflatten(1, (OBJECTS, _SAYS))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(images))


def parts(said: Tensor) -> Detections:
    """(N, 24, 4) as a `SceneEvaluator` says it, with a name for each part; logits stay logits."""
    return Detections(said[..., 0], said[..., 1:3], said[..., 3])


def detect(model: SceneEvaluator, images: Rows) -> Detections:
    """What the evaluator says of (N, H, W, 3) bytes, which are read 256 at a time.

    Several processes share the images, and each gets all that is said.
    """
    batches = (images[start : start + 256] for start in range(0, len(images), 256))
    said = [classifier.scores(model, to_tensor(batch)) for batch in batches]
    return parts(torch.cat(said))


def save(model: SceneEvaluator, folder: Path) -> None:
    """Write `scene_evaluator.safetensors` into an existing folder."""
    save_weights(model.state_dict(), folder / "scene_evaluator.safetensors")


def is_in(folder: Path) -> bool:
    """Whether the evaluator in `folder` is of scenes. Raises `LockstepError` if none is there."""
    return bool(read_provenance(folder).inputs.get("learnt") == SCENES)


def load(folder: Path) -> SceneEvaluator:
    """What `save` wrote, in evaluation mode. Raises `LockstepError` if it is damaged."""
    model = SceneEvaluator()
    load_weights(model, folder / "scene_evaluator.safetensors")
    return hardware.place(model).eval()
