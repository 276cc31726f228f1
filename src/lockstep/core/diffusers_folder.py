"""Where weights lie in a folder that diffusers wrote."""

from __future__ import annotations

from pathlib import Path

from lockstep.core.errors import LockstepError

WEIGHTS = "diffusion_pytorch_model.safetensors"


def unet_file(folder: Path) -> Path:
    """The U-Net's weights: of a whole pipeline, or right in the folder.

    Raises `LockstepError` if there are none.
    """
    for file in (folder / "unet" / WEIGHTS, folder / WEIGHTS):
        if file.is_file():
            return file
    raise LockstepError(
        f"{folder}: no U-Net of diffusers in it; give a folder with unet/{WEIGHTS}, in one file "
        "(pickles are not loaded)"
    )
