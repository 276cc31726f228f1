"""Weights as safetensors: never a pickle, so that loading never runs code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lockstep.core.errors import LockstepError


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """A state dict. Raises `LockstepError` if it cannot be written, as on a full disk."""
    try:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise LockstepError(
            f"{path}: cannot be written ({reason}); free some space and run the same command again"
        ) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises `LockstepError` if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc checkout` restores it") from None
    except SafetensorError as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill `module` from a safetensors file; keys and shapes must agree exactly.

    Raises `LockstepError` if the file is missing or damaged, or says what differs.
    """
    fill(module, read_tensors(path), path)


def fill(module: nn.Module, found: dict[str, Tensor], path: Path) -> None:
    """Fill `module` from what was read at `path`, as `load_weights` does."""
    check_alike(module.state_dict(), found, path)
    module.load_state_dict(found)


def check_alike(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """Raise `LockstepError` if what was read at `path` has other names or shapes."""
    if difference := _difference(expected, found):
        raise LockstepError(f"{path}: not this model's weights: {difference}")


def _difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        first = f"lacks {missing[0]}" if missing else f"has an unknown {extra[0]}"
        return f"it {first} ({len(missing)} missing, {len(extra)} unknown)"
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape:
            return f"{name} is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
    return None
