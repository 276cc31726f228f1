"""Diffusers' `AutoencoderKL` with the weights that somebody trained, such as Stable Diffusion's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lockstep.core import hashing, paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json

_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_CLASS = "AutoencoderKL"
_AT_ONCE = 8  # images: of 256 x 256 each takes some 60 MB in every layer at full size


@dataclass(frozen=True)
class Origin:
    """Where the network is from, and the SHA-256 of its two files there (see `fetch`)."""

    name: str
    subfolder: str
    sha256: str


class Pretrained(nn.Module):
    """A frozen `AutoencoderKL`; latents are moved and scaled as its own configuration says.

    By `shift_factor` and `scaling_factor`, or each channel by `latents_mean` and `latents_std`.
    """

    offset: Tensor
    gain: Tensor

    def __init__(self, config: dict[str, Any], origin: Origin) -> None:
        """The network as `config` describes it, its weights random as yet.

        Raises `LockstepError` if diffusers is not installed, or `config` describes no such network.
        """
        super().__init__()
        self.config, self.origin = config, origin
        try:
            self.vae = _library().from_config(config)
            mean = config.get("latents_mean") or config.get("shift_factor") or 0.0
            deviation = torch.tensor(config.get("latents_std") or 1.0)
            offset, gain = torch.tensor(mean), self.vae.config.scaling_factor / deviation
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise LockstepError(
                f"{origin.name}: {_CONFIG} describes no {_CLASS}: {reason}"
            ) from None
        # Part of the configuration, so not among the weights.
        self.register_buffer("offset", offset.view(-1, 1, 1), persistent=False)
        self.register_buffer("gain", gain.view(-1, 1, 1), persistent=False)
        self.requires_grad_(False)

    @property
    def channels(self) -> int:
        return self.vae.config.latent_channels

    @property
    def reduction(self) -> int:
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w), the posterior's mean, moved and scaled."""
        parts = [self.vae.encode(some).latent_dist.mode() for some in images.split(_AT_ONCE)]
        return (torch.cat(parts) - self.offset) * self.gain

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w), moved and scaled -> (B, 3, H, W) in [-1, 1]."""
        parts = (latents / self.gain + self.offset).split(_AT_ONCE)
        return torch.cat([self.vae.decode(some).sample for some in parts]).clamp(-1, 1)


def fetch(name: str, subfolder: str = "", sha256: str | None = None) -> Pretrained:
    """The autoencoder in a folder of the project, or of that name on the Hugging Face hub.

    `subfolder` says where in it the autoencoder is (`vae` in the folder of a whole pipeline).
    `sha256` is that of its configuration and weights: what `lockstep.core.hashing.sha256` gives of
    a folder with these two files alone. Raises `LockstepError` if diffusers is missing, there is no
    such folder or name, no network, no `AutoencoderKL` with safetensors in it, or others than
    `sha256` says.
    """
    library = _library()
    config_path, weights_path = _files(name, subfolder)
    config = read_json(config_path)
    if config.get("_class_name") != _CLASS:
        raise LockstepError(
            f"{config_path}: describes no {_CLASS}; autoencoder.subfolder says where in "
            f"{name} the autoencoder is (often: vae)"
        )
    found = hashing.sha256_of({_CONFIG: config_path, _WEIGHTS: weights_path})
    if sha256 is not None and found != sha256:
        raise LockstepError(
            f"{weights_path.parent}: autoencoder.sha256: {_CONFIG} and {_WEIGHTS} have {found}, "
            "not what params.yaml says; set it to that if they are the ones you want"
        )
    described = {key: value for key, value in config.items() if not key.startswith("_")}
    result = Pretrained(described, Origin(name, subfolder, found))
    try:
        # Knows the names that the weights of old files have.
        vae, report = library.from_pretrained(
            weights_path.parent,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            torch_dtype=torch.float32,
            output_loading_info=True,
        )
        wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    except (OSError, ValueError, RuntimeError) as error:
        wrong = [" ".join(str(error).split())[:200]]
    if wrong:
        raise LockstepError(f"{weights_path}: not the weights of its {_CONFIG}: {wrong[0]}")
    result.vae.load_state_dict(vae.state_dict())
    return result


def _library() -> Any:
    try:
        # Here: it is slow to import, and only this kind needs it.
        from diffusers import AutoencoderKL
    except ImportError:
        raise LockstepError(
            "autoencoder.kind: pretrained wants diffusers; `pip install -e '.[pretrained]'`"
        ) from None
    return AutoencoderKL


def _files(name: str, subfolder: str) -> tuple[Path, Path]:
    """The configuration and the weights, fetched if `name` is none of a folder."""
    folder = paths.home() / name
    if folder.is_dir():
        config, weights = (folder / subfolder / file for file in (_CONFIG, _WEIGHTS))
        for path in (config, weights):
            if not path.is_file():
                raise LockstepError(
                    f"{path}: no such file; autoencoder.name and autoencoder.subfolder name a "
                    f"folder with {_CONFIG} and {_WEIGHTS} (pickles are not loaded)"
                )
        return config, weights
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        config, weights = (
            Path(hf_hub_download(name, file, subfolder=subfolder or None))
            for file in (_CONFIG, _WEIGHTS)
        )
    except (OSError, ValueError, EntryNotFoundError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LockstepError(
            f"autoencoder.name: {name} is no folder here and cannot be fetched ({reason}); run it "
            "again where there is a network, or give a folder"
        ) from None
    return config, weights
