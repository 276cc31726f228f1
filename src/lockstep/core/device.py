"""Which device and precision the arithmetic uses, decided once and recorded."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import torch
from torch import nn

from lockstep.core import distributed
from lockstep.core.errors import LockstepError

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
M = TypeVar("M", bound=nn.Module)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(module: M) -> M:
    """Move a network to the device, its convolutions in the faster memory format."""
    # Two calls: torch's own signature has no overload for both.
    return module.to(device()).to(memory_format=torch.channels_last)


def _fast_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def resolve_precision(setting: Literal["auto"] | Precision, key: str) -> Precision:
    """`auto` is bf16 where the hardware multiplies it natively, else fp32.

    Raises `LockstepError`, which names the parameter `key`, if the hardware has no such precision.
    """
    if setting == "auto":
        return "bf16" if _fast_bf16() else "fp32"
    if setting == "bf16" and torch.cuda.is_available() and not _fast_bf16():
        raise LockstepError(f"{key}: this GPU has no bf16; set fp16, fp32 or auto")
    if setting == "fp16" and not torch.cuda.is_available():
        raise LockstepError(f"{key}: fp16 wants a GPU, and there is none; set bf16, fp32 or auto")
    return setting


def autocast(precision: Precision) -> AbstractContextManager[None]:
    """Mixed precision (weights stay fp32), or nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device().type, dtype=_DTYPES[precision])


def check_compiler(key: str) -> None:
    """Whether torch.compile can compile here, as the parameter `key` asks.

    Raises `LockstepError` if there is no C++ compiler, which it wants for a CPU.
    """
    compilers = (os.environ.get("CXX", "g++"), "clang++")
    if not torch.cuda.is_available() and not any(map(shutil.which, compilers)):
        raise LockstepError(
            f"{key}: torch.compile wants a C++ compiler, and there is none; install g++, or set "
            "it to false"
        )


def make_deterministic(threads: int) -> None:
    """The same bytes on every run on one machine: fixed thread count, no racing algorithms.

    The thread count is part of the result: sums are split by it. Processes that share a machine
    share the threads. On a GPU fp32 is fp32: convolutions are not rounded to TF32.
    """
    torch.set_num_threads(max(1, threads // distributed.size_here()))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    # cuBLAS repeats its sums only with a workspace of fixed size, asked for before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # A debugging aid that comes with the switch: it overwrites every fresh tensor with NaN, which
    # costs a tenth of a training step here and changes nothing that is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
