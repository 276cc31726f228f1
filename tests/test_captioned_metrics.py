"""The evaluator of captions, and what it says of small made-up images."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tiny_clip
from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.core import hashing, images, paths
from lockstep.core.files import read_json, write_json
from lockstep.core.pixels import to_tensor
from lockstep.core.provenance import read_provenance, write_provenance
from lockstep.data import captions, dataset
from lockstep.data.annotations import (
    Annotations,
    ImageObject,
    PromptContent,
    PromptObject,
    Relation,
    number_of,
    write_annotations,
)
from lockstep.data.dataset import Dataset
from lockstep.evaluation import (
    clip_score,
    distances,
    reference,
    scene_evaluator,
    scene_metrics,
)
from lockstep.evaluation.evaluators import scenes
from lockstep.evaluation.scene_evaluator import Detections
from lockstep.sampling.targets import of_seed
from readings import Reader, anything, numbered
from tiny import ROOT

W = "captions"
SEEDS = (3, 10, 4)
NAMES = ("red cube", "blue sphere", "gray cylinder")
TRAIN, EVALUATOR, HELD_OUT = 0, 2, 3


def says(*names: str, relation: Relation | None = None) -> PromptContent:
    return PromptContent(tuple(PromptObject(name, None) for name in names), relation)


STATED = {
    "single_0": says("red cube"),
    "new_pair_0": says("red cube", "blue sphere"),
    "new_pair_1": says("gray cube", "red sphere"),
    "relation_0": says("red cube", "blue sphere", relation=Relation("left of", 0, 1)),
}
PROMPTS = {name: f"prompt {name}" for name in STATED}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, and the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def wanted(encoder: str = "scratch", sha256: str | None = None) -> Params:
    committed = load_params(W, ROOT / "params.yaml")
    return dataclasses.replace(
        committed,
        evaluator=dataclasses.replace(
            committed.evaluator, epochs=1, batch_size=8, precision="fp32"
        ),
        text=dataclasses.replace(committed.text, encoder=encoder, encoder_sha256=sha256),
        sample=dataclasses.replace(committed.sample, seeds=SEEDS),
    )


def packed(known: bool = True, side: int = 16) -> Dataset:
    """Eight images to train on, 16 and 4 for the evaluator; every fourth has a second prompt."""
    rng = np.random.default_rng(0)
    files = {f"{i:02d}.png": [f"a {NAMES[i % 3]}", "it"][: 1 + (i % 4 == 0)] for i in range(28)}
    split = np.repeat(np.array([TRAIN, EVALUATOR, HELD_OUT], np.uint8), (8, 16, 4))
    rows = [int(name[:2]) for name, _ in captions.pairs(files)]
    drawn = rng.integers(0, 255, (28, side, side, 3)).astype(np.uint8)[rows]
    folder = paths.dataset(W)
    folder.mkdir(parents=True)
    captions.write(folder, dict(reversed(files.items())), PROMPTS)
    if known:
        shown = {
            name: (ImageObject(NAMES[i % 3], "large", i / 28, 0.5),) for i, name in enumerate(files)
        }
        write_annotations(folder, Annotations(shown, STATED))
    numbers = np.ones((len(rows), 1), np.uint8)
    dataset.pack(folder, iter(drawn), numbers, split[rows], {}, mirrorable=False)
    return dataset.open_dataset(folder)


def draw(of_seeds: list[NDArray[np.uint8]]) -> None:
    """Images as the stage `sample` leaves them."""
    write_provenance(paths.samples(W), {"sample.seeds": list(SEEDS)})
    for number, (seed, drawn) in enumerate(zip(SEEDS, of_seeds, strict=True)):
        for name, image in zip(PROMPTS, drawn, strict=True):
            folder = of_seed(paths.samples(W), number, seed)
            images.write_png(folder / captions.image_of(name), image)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def make_evaluator(settings: Params) -> dict[str, float]:
    out = paths.evaluator(W)
    out.mkdir(parents=True)
    return scenes.train(settings, out)


def test_the_evaluator_learns_what_the_rows_of_its_split_show(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, given = packed(), []
    train = scene_evaluator.train

    def spy(params: Params, some: scene_evaluator.Scenes) -> scene_evaluator.SceneEvaluator:
        given.append(some)
        return train(params, some)

    monkeypatch.setattr(scene_evaluator, "train", spy)
    metrics = make_evaluator(wanted())
    assert list(metrics) == [
        "evaluator_accuracy",
        "evaluator_place_error",
        "evaluator_size_accuracy",
    ]
    assert scene_evaluator.is_in(paths.evaluator(W))
    assert read_provenance(paths.evaluator(W)).params["evaluator.epochs"] == 1

    (learnt,) = given
    rows = data.indices("evaluator_train")
    assert np.array_equal(learnt.images[:], data.images[rows])
    # Images 8 to 23, of which every fourth is there for each of its two prompts.
    numbers = [i for i in range(8, 24) for _ in range(1 + (i % 4 == 0))]
    assert [row.nonzero()[0].tolist() for row in learnt.shown.present] == [
        [number_of(NAMES[i % 3])] for i in numbers
    ]
    across = learnt.shown.place[..., 0].max(1)
    assert across.tolist() == pytest.approx([i / 28 for i in numbers])

    space = scenes.space(wanted(), data)
    assert (space.name, space.frechet) == ("classifier", "fd_classifier")
    evaluator, some = scene_evaluator.load(paths.evaluator(W)), np.array(data.images[:5])
    with torch.inference_mode():
        expected = evaluator.features(to_tensor(some)).numpy()
    (features,) = space.features(some)
    assert features.shape == (5, 512)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_without_truth_the_evaluator_learns_rotations_and_says_so(home: Path) -> None:
    data = packed(known=False)
    assert list(make_evaluator(wanted())) == ["rotation_accuracy"]
    assert read_provenance(paths.evaluator(W)).inputs["learnt"] == "rotations"
    assert not scene_evaluator.is_in(paths.evaluator(W))
    space = scenes.space(wanted(), data)
    assert (space.name, space.frechet) == ("rotation", "fd_rotation")


def test_metrics_and_tables_by_hand(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed()
    detected = anything(12)
    # All that is asked for is seen in the first seed, and on the wrong side; nothing in the second.
    detected.present[:8] = 0.1
    for row, prompt in enumerate(STATED.values()):
        for mention in prompt.objects:
            detected.present[row, number_of(mention.name)] = 0.9
            detected.present[row + 4, number_of(mention.name)] = 0
    detected.place[3, number_of("red cube")] = torch.tensor([0.9, 0.5])
    detected.place[3, number_of("blue sphere")] = torch.tensor([0.1, 0.5])
    draw([numbered(*range(first, first + 4)) for first in (0, 4, 8)])
    monkeypatch.setattr(scene_evaluator, "load", lambda folder: Reader(detected))
    out = home / "out"
    found = scenes.metrics(wanted(), out)

    stated = list(STATED.values())
    each = [Detections(*(part[i : i + 4] for part in detected)) for i in (0, 4, 8)]
    of_seeds = [scene_metrics.of_images(one, stated) for one in each]
    assert of_seeds[0]["object_accuracy"] == of_seeds[0]["binding_accuracy"] == 1
    assert of_seeds[0]["relation_accuracy"] == of_seeds[1]["object_accuracy"] == 0
    assert "clip_score" not in found
    for name in ("object_accuracy", "binding_accuracy", "relation_accuracy", "false_objects"):
        assert found[name] == pytest.approx(fmean(one[name] for one in of_seeds))
    spread = stdev(one["object_accuracy"] for one in of_seeds)
    assert found["object_accuracy_sd"] == pytest.approx(spread)

    rows = table(out / "prompts.csv")
    head = ["id", "prompt", "objects", "binding", "relation", "false_objects"]
    assert list(rows[0]) == head
    assert [(row["id"], row["prompt"]) for row in rows] == list(PROMPTS.items())
    assert [row["binding"] == "" for row in rows] == [True, False, False, False]
    assert [row["relation"] == "" for row in rows] == [True, True, True, False]
    objects = [float(row["objects"]) for row in rows]
    for i, prompt in enumerate(stated):
        one = Detections(*(part[8 + i : 9 + i] for part in detected))
        third = scene_metrics.of_images(one, [prompt])["object_accuracy"]
        assert objects[i] == pytest.approx((1 + 0 + third) / 3)

    kinds = table(out / "kinds.csv")
    assert [(row["kind"], row["prompts"]) for row in kinds] == [
        ("single", "1"),
        ("new_pair", "2"),
        ("relation", "1"),
    ]
    assert float(kinds[1]["objects"]) == pytest.approx(fmean(objects[1:3]))
    # Of all the objects of all the prompts, as the metric counts them.
    micro = np.average(objects, weights=[len(prompt.objects) for prompt in stated])
    assert found["object_accuracy"] == pytest.approx(micro)


def test_ids_without_a_kind() -> None:
    assert scenes.by_kind(dict.fromkeys(["a_b_0", "7", "a_b_1", "_1"], "")) == {
        "a_b": [0, 2],
        "other": [1, 3],
    }


def test_somebodys_own_prompts_have_no_metrics_without_a_clip(home: Path) -> None:
    packed(known=False)
    draw([numbered(0, 1, 2, 3)] * 3)
    out = home / "out"
    out.mkdir()
    assert scenes.metrics(wanted(), out) == {}
    assert not list(out.iterdir())


@pytest.mark.parametrize("known", [True, False])
def test_a_whole_clip_scores_the_images(
    home: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    tiny_clip.save(home / "clip")
    packed(known)
    drawn = np.random.default_rng(1).integers(0, 256, (12, 24, 24, 3)).astype(np.uint8)
    drawn[:, 0, 0, :2] = numbered(*range(12))[:, 0, 0, :2]
    draw([drawn[:4], drawn[4:8], drawn[8:]])
    monkeypatch.setattr(scene_evaluator, "load", lambda folder: Reader(anything(12)))
    monkeypatch.setattr(scenes, "_BATCH", 3)
    settings = wanted("clip", hashing.sha256(home / "clip"))
    out = home / "out"
    found = scenes.metrics(settings, out)
    expected = clip_score.load(home / "clip").scores(drawn, [*PROMPTS.values()] * 3)
    assert found["clip_score"] == pytest.approx(expected.mean(), abs=1e-3)
    assert ("object_accuracy" in found) == known
    rows = table(out / "prompts.csv")
    by_prompt = expected.reshape(3, 4).mean(0)
    assert [float(row["clip_score"]) for row in rows] == pytest.approx(by_prompt, abs=1e-3)
    if known:
        kinds = table(out / "kinds.csv")
        assert float(kinds[1]["clip_score"]) == pytest.approx(by_prompt[1:3].mean(), abs=1e-3)
    else:
        assert list(rows[0]) == ["id", "prompt", "clip_score"]
        assert not (out / "kinds.csv").exists()


def test_a_text_half_alone_scores_nothing(home: Path) -> None:
    tiny_clip.save(home / "clip")
    config = read_json(home / "clip" / "config.json")
    write_json(home / "clip" / "config.json", {**config, "model_type": "clip_text_model"})
    packed(known=False)
    draw([numbered(0, 1, 2, 3)] * 3)
    settings = wanted("clip", hashing.sha256(home / "clip"))
    assert scenes.metrics(settings, home) == {}


def test_distances_take_the_images_of_all_seeds(home: Path) -> None:
    data = packed()
    make_evaluator(wanted())
    settings = wanted()
    folder = paths.reference(W)
    folder.mkdir(parents=True)
    for name, seen in reference.of_space(settings, data, scenes.space(settings, data)).items():
        reference.save(folder / f"{name}.npz", seen)
    drawn = np.random.default_rng(1).integers(0, 255, (12, 16, 16, 3)).astype(np.uint8)
    drawn[6] = data.images[data.indices("train")[2]]
    draw([drawn[:4], drawn[4:8], drawn[8:]])
    found = distances.metrics(settings, home)
    assert found["n_generated"] == 12
    assert found["copies"] == pytest.approx(1 / 12)
    assert {"fd_classifier", "kid_classifier", "copies_classifier", "swd"} <= found.keys()
    assert (home / "copies.png").exists()
