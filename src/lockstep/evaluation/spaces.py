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
from lockstep.evaluation import (
    classifier,
    dlib_embedding,
    dlib_network,
    inception,
    scene_judge,
)
from lockstep.evaluation.classifier import Classifier
from lockstep.evaluation.rotation import ROTATIONS
from lockstep.evaluation.rows import Rows
from lockstep.evaluation.scene_judge import SceneJudge
from lockstep.params import Params
from lockstep.pixels import to_tensor
from lockstep.workers import cores

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
    batch
        Pictures at a time.
    """

    name: str
    frechet: str
    embed: Embed
    batch: int = 256

    def features(self, pictures: Rows) -> Iterator[NDArray[np.floating]]:
        """The features of (N, H, W, 3) bytes, batch by batch.

        Several processes share each batch, and each gets all features.
        """
        starts = range(0, len(pictures), self.batch)
        batches = (pictures[start : start + self.batch] for start in starts)
        own = (batch[distributed.share(len(batch))] for batch in batches)
        for start, rows in zip(starts, self.embed(own), strict=True):
            count = min(self.batch, len(pictures) - start)
            yield distributed.gather(torch.from_numpy(rows), count).numpy()


def of_workload(params: Params, data: Dataset) -> list[Space]:
    """The workload's own space first; Inception's too if `evaluate.fid` asks for it.

    Raises
    ------
    LockstepError
        If a network's weights are missing, damaged or another one's.
    """
    spaces = [own(params, data)]
    return [*spaces, inception_space(params)] if params.evaluate.fid else spaces


def own(params: Params, data: Dataset) -> Space:
    """The space of the workload's judge. Raises `LockstepError` as `of_workload` does."""
    if params.workload == "faces":
        return dlib_space(params)
    if params.workload == "captions" and scene_judge.is_in(paths.judge(params.workload)):
        return judge_space("classifier", scene_judge.load(paths.judge(params.workload)))
    if params.workload in ("anime", "captions"):
        return classifier_space(params, "rotation", ROTATIONS)
    return classifier_space(params, "classifier", data.conditions.shape[1])


def classifier_space(params: Params, name: str, labels: int) -> Space:
    """The space of the classifier that is the workload's own evaluator."""
    return judge_space(name, classifier.load(paths.judge(params.workload), labels))


def judge_space(name: str, model: Classifier | SceneJudge) -> Space:
    """What the last layer of an evaluator sees: 512 numbers."""

    def features(batch: NDArray[np.uint8]) -> torch.Tensor:
        return model.features(to_tensor(batch).to(hardware.device()))

    return Space(name, f"fd_{name}", batch_by_batch(features, 512))


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

    # Its first layers take 5 MB a picture.
    return Space("inception", "fid", batch_by_batch(features, 2048), batch=32)


def batch_by_batch(features: Callable[[NDArray[np.uint8]], torch.Tensor], dimensions: int) -> Embed:
    """A network's features (N, dimensions) of a batch (N, H, W, 3), as a `Space` wants them."""

    def embed(batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.floating]]:
        for batch in batches:
            if len(batch) == 0:
                yield np.empty((0, dimensions), np.float32)
                continue
            with torch.inference_mode():
                yield features(batch).float().cpu().numpy()

    return embed
