"""Each kind of the registry: what it trains, its features, its metrics and its scores."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.provenance import write_provenance
from lockstep.core.weights import save_weights
from lockstep.data import dataset
from lockstep.evaluation import dlib_embedding, jackknife
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.evaluation.evaluators.classifier import Scored, errors
from lockstep.sampling.conditions import condition_of
from lockstep.sampling.targets import of_seed
from tiny import tiny_params

NAMES = ("cat", "dog", "owl")


def workload(kind: str, condition: str) -> Params:
    """Parameters of 40 images of 16 x 16, packed where they belong."""
    params = tiny_params()
    evaluator = dataclasses.replace(
        params.evaluator, type=kind, epochs=1, batch_size=8, precision="fp32"
    )
    sample = dataclasses.replace(params.sample, seeds=(3, 5), count=7)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 16, 16, 3)).astype(np.uint8)
    labels = 3 if condition == "classes" else 0
    classes = np.eye(3, dtype=np.uint8)[np.arange(40) % 3][:, :labels]
    split = np.repeat(np.array([0, 1, 2, 3], np.uint8), (8, 4, 20, 8))
    for folder in (paths.dataset("iclevr"), paths.evaluator("iclevr")):
        folder.mkdir(parents=True)
    dataset.pack(
        paths.dataset("iclevr"),
        iter(images),
        classes,
        split,
        {},
        mirrorable=True,
        names=NAMES[:labels],
    )
    return dataclasses.replace(params, condition=condition, evaluator=evaluator, sample=sample)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def test_classes_are_scored_without_test_lists() -> None:
    params = workload("classifier", "classes")
    kind = evaluator_of(params)
    assert list(kind.train(params, paths.evaluator("iclevr"))) == ["evaluator_accuracy"]
    data = dataset.open_dataset(paths.dataset("iclevr"))
    (features,) = kind.space(params, data).features(data.images[:4])
    assert features.shape == (4, 512)

    (target,) = condition_of(params).targets(params).sets
    generated = torch.rand(7, 3, 16, 16) * 2 - 1
    write_provenance(paths.samples("iclevr"), {"sample.seeds": [3, 5]})
    for number, seed in enumerate((3, 5)):
        folder = of_seed(paths.samples("iclevr"), number, seed)
        target.write(folder, [(0, generated)])
        save_weights({"test": generated}, folder / "tensors.safetensors")
    out = Path("out")
    out.mkdir()
    metrics = kind.metrics(params, out)
    assert metrics["accuracy_test"] == kind.scorer(params)(target, generated)["accuracy_test"]
    assert metrics["accuracy_test_sd"] == 0
    with (out / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Seven images go through three classes in turn, twice.
    assert [(row["object"], row["requested"]) for row in rows] == [
        ("cat", "6"),
        ("dog", "4"),
        ("owl", "4"),
    ]
    hits = sum(int(row["generated"]) for row in rows)
    assert metrics["accuracy_test"] == pytest.approx(hits / 14)


def test_errors_of_accuracies_are_those_of_leaving_images_out() -> None:
    """Of images with one label each, accuracy is a mean: by hand, with the same groups."""
    rng = np.random.default_rng(0)
    labels = torch.eye(3, dtype=torch.uint8)[rng.integers(0, 3, 90)]
    scores = torch.from_numpy(rng.random((90, 3))) + 0.3 * labels
    seeds = [Scored("test", labels[some], scores[some]) for some in (slice(45), slice(45, 90))]
    other = Scored("new_test", labels[:39], scores[:39])  # too few
    found = errors([*seeds, other])
    assert list(found) == [
        f"{name}_test_se" for name in ("accuracy", "exact_match", "false_objects")
    ]
    right = (scores.argmax(1) == labels.argmax(1)).double().numpy()
    group = jackknife.groups(90)
    without = np.array([right[group != one].mean() for one in range(20)])
    expected = np.sqrt(19 / 20 * ((without - without.mean()) ** 2).sum())
    assert found["accuracy_test_se"] == pytest.approx(expected)
    assert expected == pytest.approx(right.std() / np.sqrt(90), rel=0.5)


@pytest.mark.parametrize("kind", ["rotation", "scenes"])
def test_where_nothing_is_known_rotations_are_learnt(kind: str) -> None:
    params = workload(kind, "none")
    if kind == "scenes":
        folder = paths.dataset("iclevr")
        (folder / "train_info.json").write_text(json.dumps({"a.png": "a cat"}))
        (folder / "test.json").write_text(json.dumps(["a cat"]))
    evaluator = evaluator_of(params)
    assert list(evaluator.train(params, paths.evaluator("iclevr"))) == ["rotation_accuracy"]
    data = dataset.open_dataset(paths.dataset("iclevr"))
    assert evaluator.space(params, data).frechet == "fd_rotation"
    (target,) = condition_of(params).targets(params).sets
    assert evaluator.scorer(params)(target, torch.zeros(7, 3, 16, 16)) == {}


def test_another_dlib_than_the_noted_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    params = workload("dlib", "none")
    about = {"evaluator.name": "dlib", "evaluator.sha256": "1"}
    monkeypatch.setattr(dlib_embedding, "description", lambda: about)
    kind, folder = evaluator_of(params), paths.evaluator("iclevr")
    assert kind.train(params, folder) == {} == kind.metrics(params, folder)
    data = dataset.open_dataset(paths.dataset("iclevr"))
    assert kind.space(params, data).frechet == "fd_dlib"
    about = {**about, "evaluator.sha256": "2"}
    with pytest.raises(LockstepError, match=r"stands for another face embedding .*evaluator@"):
        kind.space(params, data)
