"""What the convolutions and matrix products of a training step take by themselves.

They are recorded in one step, with shapes, strides and formats, and run again back to back on
random numbers. No step can be faster with these kernels; what it takes beyond is normalisation,
activations, the optimiser, copies and Python.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmarks import turns
from benchmarks.models import contestants
from benchmarks.training import a_batch, trainer
from lockstep.core import device as hardware

_PRODUCTS = {
    torch.ops.aten.convolution,
    torch.ops.aten.convolution_backward,
    torch.ops.aten.mm,
    torch.ops.aten.addmm,
    torch.ops.aten.bmm,
    torch.ops.aten.baddbmm,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
}


class _Recorder(TorchDispatchMode):
    """Keeps each product's arguments, its tensors replaced by random ones, one a layout."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[tuple[Any, ...], Tensor] = {}
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket in _PRODUCTS:
            self.calls.append((func, tree_map(self._alike, args), tree_map(self._alike, kwargs)))
        return func(*args, **kwargs)

    def _alike(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        layout = (value.shape, value.stride(), value.dtype)
        if layout not in self.tensors:
            self.tensors[layout] = torch.empty_strided(
                *layout[:2], dtype=value.dtype, device=value.device
            ).normal_()
        return self.tensors[layout]


def measure(shape: str, precision: hardware.Precision, rounds: int) -> float:
    """Median seconds of all the products of a step of ours."""
    step = trainer(contestants(shape, ("lockstep",))["lockstep"], precision)
    with _Recorder() as recorder:
        step(a_batch(shape))

    def replay() -> None:
        for func, args, kwargs in recorder.calls:
            func(*args, **kwargs)

    with torch.no_grad():
        return turns.seconds({"products": replay}, rounds=rounds)["products"]
