from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from lockstep.config.load import load_params
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.data import dataset
from lockstep.evaluation import classifier
from lockstep.evaluation.classifier import Classifier, of_split
from tiny import ROOT


def official_network(labels: int = 24) -> torch.nn.Module:
    """The evaluator as its authors build it."""
    network = resnet18(weights=None)
    network.fc = torch.nn.Sequential(torch.nn.Linear(512, labels), torch.nn.Sigmoid())
    return network


def test_it_is_the_official_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = official_network().eval()
    checkpoint = tmp_path / "checkpoint.pth"
    torch.save({"model": theirs.state_dict()}, checkpoint)
    ours = classifier.official(checkpoint, 24)
    images = torch.rand(4, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))
        assert ours.features(images).shape == (4, 512)
    assert torch.equal(classifier.scores(ours, images), theirs(images))


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


def test_a_checkpoint_never_runs_code(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Trap()}, tmp_path / "checkpoint.pth")
    with pytest.raises(LockstepError, match=r"checkpoint.pth: not a checkpoint of weights"):
        classifier.official(tmp_path / "checkpoint.pth", 24)
    assert not Path("trapped").exists()


def test_wrong_checkpoints_are_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    with pytest.raises(LockstepError, match=r"checkpoint.pth: no such file"):
        classifier.official(path, 24)
    path.write_bytes(b"garbage")
    with pytest.raises(LockstepError, match=r"not a checkpoint of weights"):
        classifier.official(path, 24)
    torch.save({"weights": {}}, path)
    with pytest.raises(LockstepError, match=r'has no "model"'):
        classifier.official(path, 24)
    torch.save({"model": official_network(5).state_dict()}, path)
    with pytest.raises(LockstepError, match=r"not this evaluator's weights: .*size mismatch"):
        classifier.official(path, 24)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Classifier(24).eval()
    classifier.save(model, tmp_path)
    images = torch.rand(2, 3, 64, 64)
    loaded = classifier.load(tmp_path, 24)
    found, expected = classifier.scores(loaded, images), classifier.scores(model, images)
    assert torch.allclose(found, expected, atol=1e-6)  # another memory format, other roundings


@pytest.mark.long
def test_it_learns_colours_and_repeats_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 3, 240)
    images = rng.integers(0, 80, (240, 32, 32, 3)).astype(np.uint8)
    images[np.arange(240), 8:24, 8:24, colour] += 150
    split = np.where(np.arange(240) < 200, 2, 3).astype(np.uint8)
    split[:8] = 0
    dataset.pack(
        tmp_path, iter(images), np.eye(3, dtype=np.uint8)[colour], split, {}, mirrorable=False
    )
    data = dataset.open_dataset(tmp_path)
    params = load_params("iclevr", ROOT / "params.yaml")
    settings = dataclasses.replace(params.evaluator, epochs=6, batch_size=16, precision="fp32")
    params = dataclasses.replace(params, evaluator=settings)

    def train() -> Classifier:
        return classifier.train(params, of_split(data, "evaluator_train"))

    model, again = train(), train()
    accuracy = classifier.accuracy(model, of_split(data, "evaluator_validation"))
    assert accuracy is not None and accuracy > 0.9
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_too_few_images_for_a_batch_are_refused(tmp_path: Path) -> None:
    images = np.zeros((3, 32, 32, 3), np.uint8)
    split = np.array([0, 2, 2], np.uint8)
    dataset.pack(tmp_path, iter(images), np.eye(3, dtype=np.uint8), split, {}, mirrorable=False)
    params = load_params("iclevr", ROOT / "params.yaml")
    with pytest.raises(LockstepError, match=r"dataset.evaluator: leaves 2 images"):
        examples = of_split(dataset.open_dataset(tmp_path), "evaluator_train")
        classifier.train(params, examples)


def test_content_hashes(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    assert hashing.sha256(file) == hashlib.sha256(b"abc").hexdigest()
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/x").write_text("1")
    before = hashing.sha256(folder)
    assert hashing.sha256(folder) == before
    (folder / "inner/x").rename(folder / "inner/y")
    assert hashing.sha256(folder) != before
    with pytest.raises(LockstepError, match="no such file or folder"):
        hashing.sha256(tmp_path / "nothing")
    with pytest.raises(LockstepError, match=r"has no hash .*run `lockstep add iclevr.source"):
        hashing.verify(folder, None, "iclevr.source")
    with pytest.raises(LockstepError, match=r"is not what params\.yaml says"):
        hashing.verify(folder, before, "iclevr.source")
