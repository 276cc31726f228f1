"""The feature spaces in which sets of pictures are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lockstep import device as hardware
from lockstep import distributed, paths, records
from lockstep.dataset import Dataset
from lockstep.errors import LockstepError
from lockstep.evaluation import classifier, dlib_embedding, dlib_network, inception
from lockstep.evaluation.rows import Rows
from lockstep.params import Params
from lockstep.pixels import to_tensor
from lockstep.workers import cores

_BATCH = 256

# Batches of pictures (N, H, W, 3) -> their features (N, D), one after the other.
Embed: TypeAlias = Callable[[Iterable[NDArray[np.uint8]]], Iterator[NDArray[np.floating]]]


@dataclass(frozen=True)
class Space:
    """A network whose features say how alike pictures are.

    Parameters
    ----------
    name
        As in `kid_<name>`.
    frechet
        The name of the Fréchet distance in it.
    embed
        Pictures to features.
    """

    name: str
    frechet: str
    embed: Embed

    def features(self, pictures: Rows) -> Iterator[NDArray[np.floating]]:
        """The features of (N, H, W, 3) bytes, batch by batch.

        Several processes share each batch, and each gets all features.
        """
        starts = range(0, len(pictures), _BATCH)
        batches = (pictures[start : start + _BATCH] for start in starts)
        own = (batch[distributed.share(len(batch))] for batch in batches)
        for start, rows in zip(starts, self.embed(own), strict=True):
            count = min(_BATCH, len(pictures) - start)
            yield distributed.gather(torch.from_numpy(rows), count).numpy()


def of_workload(params: Params, data: Dataset) -> list[Space]:
    """The workload's own space first; Inception's too if `evaluate.fid` asks for it.

    Raises
    ------
    LockstepError
        If a network's weights are missing, damaged or another one's.
    """
    if params.workload == "faces":
        own = dlib_space(params)
    else:
        own = classifier_space(params, labels=data.conditions.shape[1])
    return [own, inception_space(params)] if params.evaluate.fid else [own]


def classifier_space(params: Params, labels: int) -> Space:
    """What the last layer of the workload's own evaluator sees: 512 numbers."""
    model = classifier.load(paths.judge(params.workload), labels)

    def features(batch: NDArray[np.uint8]) -> torch.Tensor:
        return model.features(to_tensor(batch).to(hardware.device()))

    return Space("classifier", "fd_classifier", batch_by_batch(features))


def dlib_space(params: Params) -> Space:
    """dlib's face embedding, if it is the one that the judge's folder stands for: 128 numbers."""
    folder = paths.judge(params.workload)
    if records.read(folder / paths.JUDGE) != dlib_network.description():
        raise LockstepError(
            f"{folder}: stands for another face embedding than the one installed; `dvc repro "
            f"--force --single-item judge@{params.workload}`, or install the other one"
        )
    processes = max(1, cores() // distributed.size())
    return Space("dlib", "fd_dlib", partial(dlib_embedding.by_processes, processes=processes))


def inception_space(params: Params) -> Space:
    """The network of the FID, through clean-fid: 2048 numbers."""
    model = inception.load(inception.weights(params))

    def features(batch: NDArray[np.uint8]) -> torch.Tensor:
        return model(inception.resized(batch).to(hardware.device()))

    return Space("inception", "fid", batch_by_batch(features))


def batch_by_batch(features: Callable[[NDArray[np.uint8]], torch.Tensor]) -> Embed:
    """A network's features (N, D) of a batch (N, H, W, 3), as a `Space` wants them."""

    def embed(batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.floating]]:
        for batch in batches:
            with torch.inference_mode():
                yield features(batch).float().cpu().numpy()

    return embed
