"""The judge of pictures with a sentence: which objects a picture shows, where, and how large.

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


class Judged(NamedTuple):
    """What a judge says of each object in N pictures; place and size mean something if it is there.

    `present` (N, 24) and `large` (N, 24) are scores in [0, 1]; `place` (N, 24, 2) is the object's
    centre in [0, 1], from the left and from the top, in sides of the picture.
    """

    present: Tensor
    place: Tensor
    large: Tensor


class SceneJudge(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, 24, 4) in [0, 1]: the parts of `Judged` in one tensor.

    torchvision's ResNet-18 with one linear layer on its features, and a sigmoid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet18(weights=None)
        self.trunk.fc = nn.Identity()
        self.head = nn.Linear(512, OBJECTS * _SAYS)

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 512): what the last layer sees."""
        return self.trunk(pictures)

    def logits(self, pictures: Tensor) -> Tensor:
        """(B, 24, 4): what is said, before the sigmoid."""
        return self.head(self.features(pictures)).unflatten(1, (OBJECTS, _SAYS))

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(pictures))


def parts(said: Tensor) -> Judged:
    """(N, 24, 4) as a `SceneJudge` says it, with a name for each part; logits stay logits."""
    return Judged(said[..., 0], said[..., 1:3], said[..., 3])


def look(model: SceneJudge, pictures: Rows) -> Judged:
    """What the judge says of (N, H, W, 3) bytes, which are read 256 at a time.

    Several processes share the pictures, and each gets all that is said.
    """
    batches = (pictures[start : start + 256] for start in range(0, len(pictures), 256))
    said = [classifier.scores(model, to_tensor(batch)) for batch in batches]
    return parts(torch.cat(said))


def save(model: SceneJudge, folder: Path) -> None:
    """Write `scene_judge.safetensors` into an existing folder."""
    save_weights(model.state_dict(), folder / "scene_judge.safetensors")


def is_in(folder: Path) -> bool:
    """Whether the judge in `folder` is one of scenes. Raises `LockstepError` if none is there."""
    return bool(read_provenance(folder).inputs.get("learnt") == SCENES)


def load(folder: Path) -> SceneJudge:
    """What `save` wrote, in evaluation mode. Raises `LockstepError` if it is damaged."""
    model = SceneJudge()
    load_weights(model, folder / "scene_judge.safetensors")
    return hardware.place(model).eval()
