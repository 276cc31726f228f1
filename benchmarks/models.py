"""The two networks that are compared: ours and the library's, with the same weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.core import device as hardware
from lockstep.export.networks import library_unet
from lockstep.models.unet import UNet, UNetConfig

SHAPES = {
    # The published i-CLEVR settings: 113.7 million weights.
    "lab6": UNetConfig(
        channels=(128, 128, 256, 256, 512, 512),
        attention=(False, False, False, False, True, False),
    ),
    # The committed quick parameters until 470ac7f, for figures that compare with earlier ones.
    "quick": UNetConfig(
        channels=(32, 64, 128),
        attention=(False, False, True),
        layers_per_block=1,
        attention_head_dim=32,
        norm_groups=16,
        patch=2,
        scale_shift=True,
    ),
}
SIZE = 64
Side = Literal["lockstep", "diffusers", "diffusers, best settings"]
SIDES: tuple[Side, ...] = ("lockstep", "diffusers", "diffusers, best settings")


class Library(nn.Module):
    """diffusers' UNet2DModel of the same shape; patches are folded round it, as it has none."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.unet = library_unet(config, condition=True)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        folded = F.pixel_unshuffle(x, self.patch)
        return F.pixel_shuffle(self.unet(folded, t, class_labels=condition).sample, self.patch)


@dataclass(frozen=True)
class Contestant:
    """A network with the memory format and the optimiser that it is measured with."""

    model: nn.Module
    memory_format: torch.memory_format
    fused: bool | None  # None is torch's own choice

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.model.parameters(), 1e-4, fused=self.fused)


def contestants(shape: str, sides: tuple[Side, ...] = SIDES) -> dict[Side, Contestant]:
    """One network a side, all with the weights of the first one built, on the device.

    `diffusers` is the library as it comes: contiguous tensors, torch's default AdamW. At its best
    settings it has channels_last and the fused AdamW, as ours has.
    """
    torch.manual_seed(0)
    config = SHAPES[shape]
    library = Library(config)
    made: dict[Side, Contestant] = {}
    for side in sides:
        best = side != "diffusers"
        model: nn.Module = copy.deepcopy(library)
        if side == "lockstep":
            model = UNet(config)
            model.load_state_dict(library.unet.state_dict())
        layout = torch.channels_last if best else torch.contiguous_format
        model = model.to(hardware.device()).to(memory_format=layout)
        made[side] = Contestant(model, layout, True if best else None)
    return made
