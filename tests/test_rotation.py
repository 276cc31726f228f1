"""An evaluator that learns which way up images are, and the distance in its features."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lockstep.config.load import load_params
from lockstep.core import paths
from lockstep.data import dataset
from lockstep.data.dataset import Dataset
from lockstep.evaluation import classifier
from lockstep.evaluation.evaluators import rotation
from lockstep.evaluation.frechet import Moments, Normal, frechet_distance

ROOT = Path(__file__).resolve().parent.parent
EVALUATOR, HELD_OUT = 2, 3


def lit_from_above(count: int) -> NDArray[np.uint8]:
    """32x32 images of noise, brighter towards the top."""
    rng = np.random.default_rng(0)
    light = np.linspace(140, 0, 32).astype(np.uint8)[None, :, None, None]
    return rng.integers(0, 100, (count, 32, 32, 3)).astype(np.uint8) + light


def packed(folder: Path, images: NDArray[np.uint8]) -> Dataset:
    count = len(images)
    split = np.where(np.arange(count) < count * 3 // 4, EVALUATOR, HELD_OUT).astype(np.uint8)
    split[:2] = 0
    folder.mkdir(parents=True)
    empty = np.zeros((count, 0), np.uint8)
    dataset.pack(folder, iter(images), empty, split, {}, mirrorable=True)
    return dataset.open_dataset(folder)


def test_every_image_stands_there_four_times(tmp_path: Path) -> None:
    images = lit_from_above(8)
    examples = classifier.rotated(packed(tmp_path / "data", images), "evaluator_train")
    positions = [2, 3, 4, 5]
    assert examples.labels.shape == (16, 4)
    assert (examples.labels.argmax(1) == np.tile(np.arange(4), 4)).all()
    assert (examples.labels.sum(1) == 1).all()
    found = examples.images(np.arange(16))
    for number, image in enumerate(found):
        expected = np.rot90(images[positions[number // 4]], number % 4)
        assert (image == expected).all()
    some = np.array([9, 2])
    assert (examples.images(some) == found[some]).all()


@pytest.mark.long
def test_it_learns_which_way_up_and_its_features_tell_images_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = packed(paths.dataset("anime"), lit_from_above(80))
    committed = load_params("anime", ROOT / "params.yaml")
    settings = dataclasses.replace(committed.evaluator, epochs=3, batch_size=16, precision="fp32")
    wanted = dataclasses.replace(committed, evaluator=settings)
    paths.evaluator("anime").mkdir(parents=True)
    metrics = rotation.train(wanted, paths.evaluator("anime"))
    assert metrics["rotation_accuracy"] > 0.9  # chance is 0.25

    model = classifier.load(paths.evaluator("anime"), classifier.ROTATIONS)
    upside_down = torch.from_numpy(np.rot90(data.images[-4:], 2, axes=(1, 2)).copy())
    seen = classifier.scores(model, upside_down.permute(0, 3, 1, 2) / 127.5 - 1)
    assert (seen.argmax(1) == 2).all()

    space = rotation.space(wanted, data)
    assert (space.name, space.frechet) == ("rotation", "fd_rotation")

    def seen_as(images: NDArray[np.uint8]) -> Normal:
        moments = Moments()
        for features in space.features(images):
            moments.add(features)
        return moments.normal()

    half, other, turned = data.images[:40], data.images[40:], data.images[40:][:, ::-1]
    near = frechet_distance(seen_as(half), seen_as(other))
    far = frechet_distance(seen_as(half), seen_as(turned))
    assert far > 3 * near
