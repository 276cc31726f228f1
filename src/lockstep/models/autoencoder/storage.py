"""An autoencoder in a folder: all that is needed to decode its latents later.

`autoencoder.json` says the kind and how it is built, `autoencoder.safetensors` has the weights;
the pretrained kind's too (330 MB for Stable Diffusion's), so that the folder needs neither the
network nor anybody's cache.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError, what_is_wrong
from lockstep.core.files import read_json, write_json
from lockstep.core.weights import load_weights, save_weights
from lockstep.models.autoencoder.interface import Autoencoder, Pixels
from lockstep.models.autoencoder.kl import KLAutoencoder, KLConfig
from lockstep.models.autoencoder.pretrained import Origin, Pretrained

DESCRIPTION, WEIGHTS = "autoencoder.json", "autoencoder.safetensors"


@dataclass(frozen=True)
class _Pixels:
    kind: Literal["pixels"] = "pixels"


@dataclass(frozen=True)
class _KL:
    config: KLConfig
    kind: Literal["kl"] = "kl"


@dataclass(frozen=True)
class _Pretrained:
    origin: Origin
    config: dict[str, Any]
    kind: Literal["pretrained"] = "pretrained"


_Description = Annotated[_Pixels | _KL | _Pretrained, Field(discriminator="kind")]


def save(autoencoder: Autoencoder, folder: Path) -> None:
    """Write it into an existing folder. Raises `LockstepError` if it cannot, as on a full disk."""
    match autoencoder:
        case Pixels():
            description: _Pixels | _KL | _Pretrained = _Pixels()
        case KLAutoencoder():
            description = _KL(autoencoder.config)
        case Pretrained():
            description = _Pretrained(autoencoder.origin, autoencoder.config)
        case _:
            raise TypeError(f"{type(autoencoder).__name__} is none of the kinds")
    if isinstance(autoencoder, nn.Module):
        save_weights(autoencoder.state_dict(), folder / WEIGHTS)
    write_json(folder / DESCRIPTION, dataclasses.asdict(description))


def load(folder: Path) -> Autoencoder:
    """What `save` wrote, on the device, to be used and not trained.

    Raises `LockstepError` if it is missing or damaged, or wants a package that is not installed.
    """
    path = folder / DESCRIPTION
    try:
        description = TypeAdapter(_Description).validate_python(read_json(path))
    except ValidationError as error:
        raise LockstepError(f"{path}: {what_is_wrong(error)}; `dvc checkout` restores it") from None
    match description:
        case _KL(config=config):
            model: KLAutoencoder | Pretrained = KLAutoencoder(config)
        case _Pretrained(origin=origin, config=settings):
            model = Pretrained(settings, origin)
        case _:
            return Pixels()
    load_weights(model, folder / WEIGHTS)
    return hardware.place(model).eval().requires_grad_(False)
