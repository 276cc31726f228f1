"""Conditions as a type, and what each kind makes of targets and of texts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lockstep.config.load import load_params
from lockstep.config.schema import Condition, Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.data import dataset
from lockstep.models import generator
from lockstep.models.build import noise_schedule
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, FrozenConfig, Generator, TextConfig
from lockstep.models.text import FrozenText, ScratchConfig
from lockstep.sampling.conditions import classes, condition_called, condition_of, labels, none
from lockstep.sampling.targets import STRIPS, seeds_of
from tiny import ROOT, tiny_params

NAMES = ["red cube", "blue cube", "red sphere"]


# The type


def test_slices_keep_values_and_given_together() -> None:
    values, given = torch.arange(12).view(4, 3), torch.tensor([True, False, True, False])
    found = Conditions(values, given)
    assert len(found) == 4
    for index in (slice(1, 3), [3, 0], torch.tensor([2, 2])):
        assert torch.equal(found[index].values, values[index])
        assert torch.equal(found[index].given, given[index])
    assert torch.equal(found.null().values, values) and not found.null().given.any()
    assert torch.equal(found.given, given), "null() changed the original"


def test_one_image_for_many() -> None:
    one = Conditions(torch.tensor([[1, 2]]), torch.tensor([False])).expand(3)
    assert one.values.tolist() == [[1, 2]] * 3 and one.given.tolist() == [False] * 3
    contexts = Conditions.of(torch.ones(1, 4, 5)).expand(2)
    assert contexts.values.shape == (2, 4, 5) and contexts.given.tolist() == [True, True]


def test_no_condition_has_no_columns() -> None:
    assert Conditions.none(3).values.shape == (3, 0)
    assert len(Conditions.none(0)) == 0


def test_all_of_it_moves_to_a_device() -> None:
    moved = Conditions.of(torch.ones(2, 3)).to(torch.device("meta"))
    assert moved.values.device.type == moved.given.device.type == "meta"


# Nothing said


def network(kind: str) -> tuple[Generator, Conditions, Conditions]:
    """A network with random weights, some conditions, and what says nothing in their place."""
    model = dataclasses.replace(tiny_params().model, attention=(True, True), heads=2, patch=1)
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)
    if kind == "labels":
        built = Generator(model.unet(), labels=3)
        said, nothing = torch.eye(3), torch.zeros(3, 3)
    elif kind == "words":
        text: TextConfig = ScratchConfig(words=6, length=4, width=8, layers=1, heads=2)
        built = Generator(model.cross_attention_unet(3, 8), 0, text, pooled_text=True)
        said = torch.randint(1, 6, (3, 4), generator=random)
        nothing = torch.zeros(3, 4, dtype=torch.long)  # the empty prompt
    else:
        built = Generator(model.cross_attention_unet(3, 8), 0, FrozenConfig(4, 8), pooled_text=True)
        said = torch.randn(3, 4, 8, generator=random)
        empty = torch.randn(4, 8, generator=random)
        built.embedding = FrozenText(empty)
        nothing = empty.expand(3, 4, 8)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=random)
    return built.eval(), Conditions.of(said), Conditions.of(nothing)


@pytest.mark.parametrize("kind", ["labels", "words", "contexts"])
@torch.no_grad()
def test_nothing_said_is_no_label_or_the_empty_prompt(kind: str) -> None:
    model, said, nothing = network(kind)
    x, t = torch.randn(3, 3, 16, 16), torch.tensor([3, 500, 900])
    assert torch.equal(model(x, t, said.null()), model(x, t, nothing))
    assert not torch.allclose(model(x, t, said), model(x, t, nothing), atol=1e-4)
    # Dropped image by image: the others are as they were.
    some = Conditions(said.values, torch.tensor([True, False, True]))
    mixed = model(x, t, some)
    for image, whole in ((0, said), (1, nothing), (2, said)):
        assert torch.equal(mixed[image], model(x, t, whole)[image])


# The kinds


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def params(workload: str, condition: Condition, **sample: object) -> Params:
    committed = load_params(workload, ROOT / "params.yaml")
    return dataclasses.replace(
        committed, condition=condition, sample=dataclasses.replace(committed.sample, **sample)
    )


def model_folder(folder: Path, condition: Condition, names: list[str]) -> Path:
    """A model's folder as far as reading texts goes."""
    tiny = tiny_params()
    description = Description(
        unet=tiny.model.unet(),
        condition=condition,
        labels=len(names),
        size=16,
        schedule=noise_schedule(tiny.diffusion),
        prediction="x0",
        precision="fp32",
        fingerprint="0" * 64,
        params={},
    )
    folder.mkdir(parents=True)
    generator.save(folder, description, {})
    if names:
        (folder / "names.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    return folder


def test_each_kind_has_its_module() -> None:
    for kind, module in (("none", none), ("classes", classes), ("labels", labels)):
        assert condition_called(kind) is module
        assert condition_of(params("iclevr", kind)) is module


def test_without_a_condition_the_count_is_asked_for(work: Path) -> None:
    targets = none.targets(params("faces", "none", count=20))
    (images,) = targets.sets
    assert images.conditions.values.shape == (20, 0)
    assert images.files[0] == "gen_00000.png" and len(set(images.files)) == 20
    assert len(targets.strips) == STRIPS and not targets.exactly
    folder = model_folder(work / "model", "none", [])
    assert len(none.read(folder, [None, None])) == 2
    with pytest.raises(LockstepError, match=r"model: takes no condition; leave 'a cat' out"):
        none.read(folder, ["a cat"])
    assert none.warnings(folder, None) == []


@pytest.mark.parametrize(("count", "each"), [(7, [3, 2, 2]), (2, [1, 1, 1])])
def test_classes_take_turns(work: Path, count: int, each: list[int]) -> None:
    asked = params("anime", "classes", count=count)
    folder = paths.dataset("anime")
    folder.mkdir(parents=True)
    images = np.zeros((3, 4, 4, 3), np.uint8)
    split = np.zeros(3, np.uint8)
    dataset.pack(
        folder, iter(images), np.eye(3, dtype=np.uint8), split, {}, mirrorable=True, names=NAMES
    )
    targets = classes.targets(asked)
    (found,) = targets.sets
    assert found.conditions.values.sum(0).tolist() == each
    assert found.conditions.values[:3].argmax(1).tolist() == [0, 1, 2]
    assert len(found.files) == sum(each) and found.per_row == 3
    assert targets.strips.values.argmax(1).tolist() == [0, 1, 2] and targets.exactly


def test_a_class_is_named(work: Path) -> None:
    folder = model_folder(work / "model", "classes", NAMES)
    found = classes.read(folder, [" blue cube ", "red cube"])
    assert found.values.tolist() == [[0, 1, 0], [1, 0, 0]] and found.given.all()
    with pytest.raises(LockstepError, match=r"unknown name 'dog'; choose from red cube, blue"):
        classes.read(folder, ["dog"])
    with pytest.raises(LockstepError, match=r"model: wants a class: red cube, .*; name one"):
        classes.read(folder, [None])
    assert classes.warnings(folder, "red cube") == []


def test_labels_are_those_of_the_test_files(work: Path) -> None:
    folder = paths.dataset("iclevr")
    folder.mkdir(parents=True)
    rows = [["red cube"], ["blue cube", "red sphere"]]
    objects = {name: i for i, name in enumerate(NAMES)}
    for name, content in (("objects", objects), ("test", rows), ("new_test", rows[:1])):
        (folder / f"{name}.json").write_text(json.dumps(content))
    targets = labels.targets(params("iclevr", "labels"))
    test, new_test = targets.sets
    assert test.conditions.values.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert test.files == ["images/test/0.png", "images/test/1.png"] and test.shown == 2
    assert new_test.conditions.values.tolist() == [[1, 0, 0]]
    # Not i-CLEVR's objects: the strip shows what is asked for first.
    assert targets.strips.values.tolist() == [[1, 0, 0]] and targets.exactly


def test_objects_are_listed(work: Path) -> None:
    folder = model_folder(work / "model", "labels", NAMES)
    found = labels.read(folder, ["red cube, red sphere", "blue cube,", ""])
    assert found.values.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(LockstepError, match=r"unknown name 'red ball'; choose from red cube"):
        labels.read(folder, ["red ball"])
    with pytest.raises(LockstepError, match=r"wants objects, such as 'red cube'; name some"):
        labels.read(folder, [None])
    (folder / "names.json").write_text('{"red cube": 0}')
    with pytest.raises(LockstepError, match=r"has 1 names, and the model 3: train again"):
        labels.read(folder, ["red cube"])
    (folder / "names.json").unlink()
    with pytest.raises(LockstepError, match=r"names.json: missing; `dvc checkout` restores it"):
        labels.read(folder, ["red cube"])


# What the sample stage left


def test_the_seeds_of_the_images_are_written_down(tmp_path: Path) -> None:
    from lockstep.core.provenance import write_provenance

    write_provenance(tmp_path, {"sample.seeds": [3, 5]})
    assert seeds_of(tmp_path) == [3, 5]
    write_provenance(tmp_path, {})
    with pytest.raises(LockstepError, match=r"provenance.json: names no sample.seeds; `dvc check"):
        seeds_of(tmp_path)
