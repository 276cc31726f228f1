from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from lockstep.config.load import load_params
from lockstep.config.schema import Evaluator
from lockstep.core.errors import LockstepError
from lockstep.data.annotations import ImageObject, as_arrays
from lockstep.evaluation import scene_evaluator
from lockstep.evaluation.classifier import scores
from lockstep.evaluation.scene_evaluator import SceneEvaluator, Scenes, detect, parts
from readings import Reader, anything, numbered
from tiny import ROOT

COLOURS = {"red": (230, 30, 30), "blue": (30, 30, 230)}


def settings(**changed: float) -> Evaluator:
    return dataclasses.replace(load_params("iclevr", ROOT / "params.yaml").evaluator, **changed)


def squares(count: int, seed: int) -> Scenes:
    """32x32 images of a square, red or blue: anywhere, large or small."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 130, (count, 32, 32, 3)).astype(np.uint8)
    rows = []
    for image in images:
        colour = str(rng.choice(list(COLOURS)))
        half = int(rng.choice([3, 7]))
        x, y = rng.integers(half, 32 - half, 2).tolist()
        image[y - half : y + half, x - half : x + half] = COLOURS[colour]
        size = "large" if half == 7 else "small"
        rows.append([ImageObject(f"{colour} cube", size, x / 32, y / 32)])
    return Scenes(images, as_arrays(rows))


def train(scenes: Scenes, settings: Evaluator) -> SceneEvaluator:
    committed = load_params("captions", ROOT / "params.yaml")
    params = dataclasses.replace(
        committed, evaluator=dataclasses.replace(settings, precision="fp32")
    )
    return scene_evaluator.train(params, scenes)


def same(one: SceneEvaluator, other: SceneEvaluator) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_its_features_are_what_resnet18_gives_its_last_layer() -> None:
    torch.manual_seed(0)
    model = SceneEvaluator().eval()
    theirs = resnet18(weights=None).eval()
    state = {f"fc.{name}": value for name, value in theirs.fc.state_dict().items()}
    theirs.load_state_dict({**model.trunk.state_dict(), **state})
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        features = model.features(images)
        assert features.shape == (2, 512)
        torch.testing.assert_close(theirs.fc(features), theirs(images))
        said = model(images)
        torch.testing.assert_close(said, torch.sigmoid(model.logits(images)))
    detected = parts(said)
    assert [part.shape for part in detected] == [(2, 24), (2, 24, 2), (2, 24)]
    assert torch.equal(detected.place[:, 3, 1], said[:, 3, 2])


def test_many_images_are_looked_at_in_their_order() -> None:
    detected = anything(300)
    order = np.random.default_rng(0).permutation(300)
    seen = detect(Reader(detected), numbered(*order.tolist()))
    for found, expected in zip(seen, detected, strict=True):
        assert torch.equal(found, expected[torch.from_numpy(order)])


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SceneEvaluator().eval()
    scene_evaluator.save(model, tmp_path)
    images = torch.rand(2, 3, 64, 64)
    found, expected = scores(scene_evaluator.load(tmp_path), images), scores(model, images)
    assert torch.allclose(found, expected, atol=1e-6)  # another memory format, other roundings
    (tmp_path / "scene_evaluator.safetensors").write_bytes(b"garbage")
    with pytest.raises(LockstepError, match=r"scene_evaluator\.safetensors: damaged"):
        scene_evaluator.load(tmp_path)


@pytest.mark.long
def test_it_learns_what_is_there_and_where_and_how_large() -> None:
    model = train(squares(240, seed=0), settings(epochs=5, batch_size=16))
    held_out = squares(100, seed=1)
    found = scene_evaluator.held_out(model, held_out)
    assert list(found) == ["evaluator_accuracy", "evaluator_place_error", "evaluator_size_accuracy"]
    # Whoever knows nothing of an image says one of two colours and sizes, and its middle.
    there = held_out.shown.place[held_out.shown.present.astype(bool)]
    blind = float(np.linalg.norm(there - 0.5, axis=1).mean())
    assert found["evaluator_accuracy"] > 0.9
    assert found["evaluator_place_error"] < 0.7 * blind
    assert found["evaluator_size_accuracy"] > 0.9


@pytest.mark.long
def test_it_repeats_to_the_bit_and_never_reads_the_place_or_size_of_what_is_not_there() -> None:
    scenes = squares(16, seed=0)
    absent = scenes.shown.present == 0
    place, large = scenes.shown.place.copy(), scenes.shown.large.copy()
    place[absent], large[absent] = 0.9, 1
    other = Scenes(scenes.images, scenes.shown._replace(place=place, large=large))
    short = settings(epochs=2, batch_size=8)
    model = train(scenes, short)
    assert same(model, train(scenes, short))
    assert same(model, train(other, short))
    place[~absent] = 0.9
    assert not same(model, train(other, short))
    assert not same(model, train(scenes, dataclasses.replace(short, seed=1)))


def test_held_out_metrics_by_hand() -> None:
    detected = anything(2)
    rows = [
        [ImageObject("gray cube", "large", 0.2, 0.3)],
        [ImageObject("red cube", "small", 0.5, 0.5)],
    ]
    detected.present[0, 0], detected.present[1, 1] = 2, -1
    detected.place[0, 0], detected.place[1, 1] = torch.tensor([0.5, 0.7]), torch.tensor([0.5, 0.4])
    detected.large[0, 0], detected.large[1, 1] = 0.4, 0.3
    scenes = Scenes(numbered(0, 1), as_arrays(rows))
    assert scene_evaluator.held_out(Reader(detected), scenes) == {
        "evaluator_accuracy": 0.5,
        "evaluator_place_error": pytest.approx((0.5 + 0.1) / 2),
        "evaluator_size_accuracy": 0.5,
    }
    none = Scenes(numbered(), as_arrays([]))
    assert scene_evaluator.held_out(Reader(detected), none) == {}


def test_too_few_images_for_a_batch_are_refused() -> None:
    with pytest.raises(LockstepError, match=r"dataset.evaluator: leaves 3 images"):
        train(squares(3, seed=0), settings(batch_size=4))
