"""How a network is spread over the processes: copies that share gradients, or parts.

ddp    every process has the whole network; gradients are averaged.
fsdp   every process has a part of each weight (FSDP2, Zhao et al. 2023, arXiv 2304.11277, as in
       torch's `fully_shard`), for networks that do not fit on one device.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from lockstep.core import device as hardware
from lockstep.core import distributed
from lockstep.models.generator import Generator
from lockstep.models.unet.blocks import Attention, Resnet
from lockstep.models.unet.placement import Placement
from lockstep.models.unet.transformer import Transformer

Parallel = Literal["ddp", "fsdp"]


def place(models: list[Generator], how: Parallel) -> list[Generator]:
    """Move networks to the device, each process with its part if they are to be cut up."""
    if distributed.size() == 1 or how == "ddp":
        return [hardware.place(model) for model in models]
    # Not channels_last: parts of weights must be contiguous.
    mesh = init_device_mesh(hardware.device().type, (distributed.size(),))
    for model in models:
        for module in model.modules():
            if isinstance(module, Resnet | Attention | Placement | Transformer):
                fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # The averages are only ever called without a backward pass: they must cut up again too.
        fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return models


def share_gradients(model: Generator) -> nn.Module:
    """What to call for a prediction whose gradients all processes will share."""
    if distributed.size() == 1 or isinstance(model, FSDPModule):
        return model
    return DistributedDataParallel(model, gradient_as_bucket_view=True)


def sharing(network: nn.Module, share: bool) -> AbstractContextManager[None]:
    """Whether the next backward pass sends its gradients round, or adds them up here first."""
    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(share)
    elif isinstance(network, DistributedDataParallel) and not share:
        return network.no_sync()
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be spread over the processes, all of it on each of them."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def fill(target: Tensor, source: Tensor | None) -> None:
    """Copy the first process's `source` into `target`, of which each may have a part."""
    if isinstance(target, DTensor):
        given = torch.empty(target.shape) if source is None else source
        given = given.to(target.device, target.dtype)
        target.copy_(distribute_tensor(given, target.device_mesh, target.placements))
    else:
        target.copy_(distributed.tensor_from_main(source, target.shape, like=target))
