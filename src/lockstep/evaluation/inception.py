"""The Inception network of the FID, through clean-fid, in its mode `clean`.

Parmar, Zhang & Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022
(arXiv:2104.11222). The network is the TorchScript file of 2015-12-05 and no other.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from numpy.typing import NDArray
from torch import Tensor, nn

from lockstep.config.schema import Params
from lockstep.core import device as hardware
from lockstep.core import distributed, download, hashing
from lockstep.core.errors import LockstepError
from lockstep.core.rank import is_first_here


def weights(params: Params) -> Path:
    """The file with the network: `evaluate.inception`, or the fetched one; fetched if need be.

    Raises `LockstepError` if it is another network than the FID's, or cannot be fetched.
    """
    known = download.FILES["inception"]
    settings = params.evaluate
    if settings.inception is None:
        path = download.cached("inception")
        with distributed.together():
            if is_first_here():
                download.fetch(known, path)
        return path
    path = hashing.verified(settings.inception, settings.inception_sha256, "evaluate.inception")
    if settings.inception_sha256 != known.sha256:
        raise LockstepError(
            f"{path}: evaluate.inception: not the network of the FID, whose SHA-256 is "
            f"{known.sha256}; empty evaluate.inception, and it is fetched"
        )
    return path


def load(path: Path) -> nn.Module:
    """(B, 3, 299, 299) in 0 ... 255 -> (B, 2048).

    Raises `LockstepError` if the file is no such network.
    """
    # clean-fid wants a folder with a file of its own name in it.
    if path.name != download.FILES["inception"].name:
        raise LockstepError(f"{path}: rename it to {download.FILES['inception'].name}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit.load.* is deprecated")
            model = InceptionV3W(str(path.parent), download=False, resize_inside=False)
    except (RuntimeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise LockstepError(f"{path}: not the Inception network ({reason})") from None
    return model.to(hardware.device()).eval()


def resized(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, 3) bytes -> (B, 3, 299, 299) in 0 ... 255, not rounded to bytes in between."""
    resize = build_resizer("clean")
    return torch.from_numpy(np.stack([resize(one) for one in images])).permute(0, 3, 1, 2)
