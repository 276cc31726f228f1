from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image

import train_tiny
from lockstep.config.load import load_params
from lockstep.config.schema import Params, Sample
from lockstep.core import paths
from lockstep.core.files import write_json
from lockstep.core.pixels import to_bytes
from lockstep.core.provenance import write_provenance
from lockstep.data import captions, dataset
from lockstep.data.annotations import (
    Annotations,
    PromptContent,
    PromptObject,
    Relation,
    write_annotations,
)
from lockstep.evaluation import (
    classifier,
    reference,
    scene_evaluator,
    scene_metrics,
    sweep,
)
from lockstep.evaluation.evaluators import evaluator_of
from lockstep.models import generator, noisy_classifier
from lockstep.models.generator import Description
from lockstep.models.text import ScratchConfig, tokenizer
from lockstep.sampling.conditions import prompts as reading
from lockstep.sampling.sample import Trained, sample
from tiny import ROOT, tiny_dataset, tiny_params


def sweeping(**values: object) -> Params:
    params = tiny_params()
    return dataclasses.replace(params, sweep=dataclasses.replace(params.sweep, **values))


def test_each_guidance_scale_changes_nothing_else() -> None:
    params = sweeping(guidance_scales=(1.0, 3.5))
    settings = sweep.guidance_settings(params)
    assert [name for name, _ in settings] == ["1", "3.5"]
    for (_, setting), scale in zip(settings, (1.0, 3.5), strict=True):
        assert sweep.changes(params.sample, setting) == {"sample.guidance_scale": scale}


@pytest.mark.parametrize(("weights", "count"), [(None, 0), ("last", 2)])
def test_without_a_condition_only_other_weights_guide(weights: str | None, count: int) -> None:
    params = sweeping(guidance_scales=(1.0, 2.5))
    chosen = dataclasses.replace(params.sample, guidance_weights=weights)
    params = dataclasses.replace(params, condition="none", sample=chosen)
    settings = sweep.guidance_settings(params)
    assert len(settings) == count
    assert all(setting.guidance_weights == weights for _, setting in settings)


def test_each_sampler_with_each_number_of_steps() -> None:
    params = sweeping(samplers=("ddim_eta_1", "ddpm", "heun"), steps=(5, "all", 1000))
    assert [(name, s.sampler, s.eta, s.steps) for name, s in sweep.sampler_settings(params)] == [
        ("ddim_eta_1", "ddim", 1.0, 5),
        ("ddim_eta_1", "ddim", 1.0, 1000),
        ("ddpm", "ddpm", 0.0, 5),
        ("ddpm", "ddpm", 0.0, 1000),
        ("heun", "heun", 0.0, 5),
        ("heun", "heun", 0.0, 1000),
    ]


ROWS = [
    {
        "setting": name,
        "guidance_scale": 2.0,
        "steps": steps,
        "accuracy_test": a,
        "accuracy_new": b,
        "evaluations": 2.0 * steps,
        "fd_x": 3.0,
    }
    for name, steps, a, b in (
        ("ddpm", 10, 0.2, 0.4),
        ("ddpm", 5, 0.1, 0.1),
        ("ddim", 10, 0.4, 0.4),
        ("ddim", 5, 0.3, 0.1),
    )
]


def test_a_row_for_each_number_of_steps() -> None:
    assert sweep.by_steps(ROWS, sweep.mean_accuracy) == [
        {"steps": 5, "ddpm": pytest.approx(0.1), "ddim": pytest.approx(0.2)},
        {"steps": 10, "ddpm": pytest.approx(0.3), "ddim": pytest.approx(0.4)},
    ]
    (row,) = sweep.by_steps(ROWS[:1], sweep.distance)
    assert row == {"steps": 10, "ddpm": 3.0}


def test_the_best_is_the_best_mean() -> None:
    rows = [
        {**ROWS[0], "guidance_scale": scale, "accuracy_test": a, "accuracy_new": b}
        for scale, a, b in ((1.0, 0.9, 0.1), (3.0, 0.6, 0.5), (4.0, 0.6, 0.5))
    ]
    assert sweep.best(rows) == {
        "best_guidance_scale": 3.0,
        "best_accuracy_test": 0.6,
        "best_accuracy_new": 0.5,
    }


FAR = [{"guidance_scale": 1.0, "steps": 5, "fd_x": 3.0}]
SENTENCES = [
    {
        "guidance_scale": scale,
        "object_accuracy": objects,
        "binding_accuracy": binding,
        "fd_x": far,
    }
    for scale, objects, binding, far in ((1.0, 0.5, 0.9, 2.0), (2.0, 0.6, 0.5, 3.0))
]


def test_the_best_for_sentences_is_that_of_their_objects() -> None:
    assert sweep.best(SENTENCES) == {
        "best_guidance_scale": 2.0,
        "best_object_accuracy": 0.6,
        "best_binding_accuracy": 0.5,
    }
    assert sweep.mean_accuracy(SENTENCES[0]) == 0.5


def test_without_accuracies_the_best_is_the_nearest() -> None:
    rows = [{**FAR[0], "guidance_scale": s, "fd_x": d} for s, d in ((1.0, 3), (2.0, 2), (3.0, 2))]
    assert sweep.best(rows) == {"best_guidance_scale": 2.0, "best_fd_x": 2}


def test_charts_are_images_and_always_the_same() -> None:
    for chart in (
        lambda: sweep.guidance_chart(ROWS),
        lambda: sweep.guidance_chart(SENTENCES),
        lambda: sweep.guidance_chart(FAR),
        lambda: sweep.steps_chart(sweep.by_steps(ROWS, sweep.mean_accuracy), "accuracy"),
        lambda: sweep.evaluations_chart(ROWS[:2], ROWS[2:], sweep.mean_accuracy, "accuracy"),
    ):
        with Image.open(io.BytesIO(chart())) as image:
            assert image.size == (640, 400)
        assert chart() == chart()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, and the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def outputs(home: Path) -> Description:
    """What the stages before a sweep leave, with networks that have learnt nothing."""
    params = tiny_params()
    data = tiny_dataset(paths.dataset("iclevr"))
    names = {"red cube": 0, "green cube": 1, "blue cube": 2}
    write_json(paths.dataset("iclevr") / "objects.json", names)
    for name, asked in (
        ("test", [["red cube"], ["blue cube", "red cube"]]),
        ("new_test", [["green cube"]]),
    ):
        (paths.dataset("iclevr") / f"{name}.json").write_text(json.dumps(asked))
    torch.manual_seed(0)
    for folder in (paths.evaluator, paths.reference, paths.noisy_classifier):
        folder("iclevr").mkdir(parents=True)
    noisy_classifier.save(None, paths.noisy_classifier("iclevr"))
    classifier.save(classifier.Classifier(3), paths.evaluator("iclevr"))
    (seen,) = reference.of_space(params, data, evaluator_of(params).space(params, data)).values()
    reference.save(paths.reference("iclevr") / "classifier.npz", seen)
    return train_tiny.description(params, data)


def test_settings_are_measured_once(outputs: Description, tmp_path: Path) -> None:
    params = sweeping(guidance_scales=(1.0, 3.0), seeds=2)
    params = dataclasses.replace(params, sample=dataclasses.replace(params.sample, steps=2))
    trained = Trained(outputs.build().eval(), outputs)

    def load(_: Sample) -> Trained:
        return trained

    settings = sweep.guidance_settings(params)
    kept = tmp_path / "kept"
    first, _ = sweep.measure(params, load, settings[:1], kept)
    (row,) = first
    assert list(row) == [
        "setting",
        "guidance_scale",
        "steps",
        "evaluations",
        "accuracy_test",
        "accuracy_new_test",
        "fd_classifier",
        "n_generated",
    ]
    assert row["n_generated"] == 2 * 3  # images of each seed
    assert 0 <= row["accuracy_test"] <= 1
    assert row["evaluations"] == 2  # guidance of 1 needs no second one
    whole, seconds = sweep.measure(params, load, settings, kept)
    assert whole[0] == row
    assert [one["guidance_scale"] for one in whole] == [1.0, 3.0]
    assert whole[1]["evaluations"] == 3  # params.yaml leaves the noisiest levels unguided
    assert whole[1]["fd_classifier"] != row["fd_classifier"]

    def refuses(*_: object) -> torch.Tensor:
        raise AssertionError("it was drawn again")

    trained.model.forward = refuses  # type: ignore[method-assign]
    assert sweep.measure(params, load, settings, kept) == (whole, seconds)


@pytest.mark.parametrize(
    ("changes", "evaluations"),
    [
        ({"sampler": "heun", "steps": 3}, 2 * (1 + 2 + 1)),  # Euler's above sigma 80, and at last
        ({"sampler": "ddim", "steps": 3, "guidance_interval": [0.0, 0.5]}, 3 + 1),
        ({"sampler": "ddpm", "steps": 3, "guidance_scale": 1.0}, 3),
    ],
)
def test_evaluations_are_counted(
    outputs: Description, tmp_path: Path, changes: dict, evaluations: int
) -> None:
    base = {"guidance_scale": 2.0, "guidance_interval": None}
    params = sweeping(settings=({**base, **changes},), seeds=1)
    trained = Trained(outputs.build().eval(), outputs)
    other = sweep.other_settings(params)
    ((row,), _) = sweep.measure(params, lambda _: trained, other, tmp_path / "kept")
    assert row["evaluations"] == evaluations
    assert not trained.model._forward_pre_hooks


def test_other_settings_say_what_they_are() -> None:
    given = ({"weights": "last", "steps": 5}, {"guidance_interval": [0.0, 0.5]}, {"clip": None})
    params = sweeping(settings=given)
    (first, second, third) = sweep.other_settings(params)
    assert [name for name, _ in (first, second, third)] == [
        "weights last, steps 5",
        "guidance_interval [0.0, 0.5]",
        "clip None",
    ]
    assert sweep.changes(params.sample, first[1]) == {"sample.weights": "last", "sample.steps": 5}
    assert second[1].guidance_interval == (0.0, 0.5)


def test_each_setting_is_drawn_with_its_weights(outputs: Description, tmp_path: Path) -> None:
    params = sweeping(settings=({"weights": "last"}, {"weights": "best"}), seeds=1)
    asked = []

    def load(setting: Sample) -> Trained:
        asked.append(setting.weights)
        torch.manual_seed(len(asked))
        return Trained(outputs.build().eval(), outputs)

    other = sweep.other_settings(params)
    rows, _ = sweep.measure(params, load, other, tmp_path / "kept")
    assert asked == ["last", "best"]
    assert rows[0]["fd_classifier"] != rows[1]["fd_classifier"]
    # What is known of a list is known of the next one.
    sweep.measure(
        sweeping(settings=({"weights": "best"},), seeds=1), load, other[1:], tmp_path / "kept"
    )
    assert asked == ["last", "best"]


def test_what_decides_a_row_decides_where_it_is_kept(outputs: Description) -> None:
    params = sweeping(seeds=1)
    found = {
        sweep.identity(one, outputs)
        for one in (
            params,
            sweeping(seeds=2),
            dataclasses.replace(params, threads=params.threads + 1),
        )
    }
    found.add(sweep.identity(params, dataclasses.replace(outputs, fingerprint="1" * 64)))
    first = sweep.identity(params, outputs)
    (paths.evaluator("iclevr") / "another").write_text("evaluator")
    found.add(sweep.identity(params, outputs))
    assert len(found) == 5
    (paths.evaluator("iclevr") / "another").unlink()
    (paths.noisy_classifier("iclevr") / "another").write_text("classifier")
    assert sweep.identity(params, outputs) not in found
    (paths.noisy_classifier("iclevr") / "another").unlink()
    assert sweep.identity(params, outputs) == first
    # Another list of settings has rows in common with this one.
    assert sweep.identity(sweeping(seeds=1, guidance_scales=(9.0,)), outputs) in found


W = "captions"
PROMPTS = {
    "pair_0": "a red cube and a blue sphere",
    "relation_0": "a gray cube left of a red sphere",
    "single_0": "a green cylinder",
}


def says(*names: str, relation: Relation | None = None) -> PromptContent:
    return PromptContent(tuple(PromptObject(name, None) for name in names), relation)


STATED = {
    "pair_0": says("red cube", "blue sphere"),
    "relation_0": says("gray cube", "red sphere", relation=Relation("left of", 0, 1)),
    "single_0": says("green cylinder"),
}


def prompted(*, known: bool) -> tuple[Params, Trained]:
    """The same of captions; `known` is whether there is a truth about them."""
    committed = load_params(W, ROOT / "params.yaml")
    settings = dataclasses.replace(
        committed,
        threads=1,
        model=dataclasses.replace(tiny_params().model, attention=(False, True), heads=2),
        sample=dataclasses.replace(committed.sample, steps=2, clip=1.0),
        sweep=dataclasses.replace(committed.sweep, guidance_scales=(1.0, 3.0), seeds=2),
    )
    for folder in (paths.dataset, paths.evaluator, paths.reference, paths.model):
        folder(W).mkdir(parents=True)
    paths.noisy_classifier(W).mkdir(parents=True)
    noisy_classifier.save(None, paths.noisy_classifier(W))
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    captions.write(paths.dataset(W), {f"{i}.png": ["a cube"] for i in range(8)}, PROMPTS)
    numbers, split = np.ones((8, 1), np.uint8), np.zeros(8, np.uint8)
    dataset.pack(paths.dataset(W), iter(images), numbers, split, {}, mirrorable=False)
    torch.manual_seed(0)
    if known:
        write_annotations(paths.dataset(W), Annotations({}, dict(reversed(STATED.items()))))
        scene_evaluator.save(scene_evaluator.SceneEvaluator(), paths.evaluator(W))
    else:
        classifier.save(classifier.Classifier(classifier.ROTATIONS), paths.evaluator(W))
    learnt = scene_evaluator.SCENES if known else scene_evaluator.ROTATIONS
    write_provenance(paths.evaluator(W), {}, learnt=learnt)
    data = dataset.open_dataset(paths.dataset(W))
    for name, seen in reference.of_space(
        settings, data, evaluator_of(settings).space(settings, data)
    ).items():
        reference.save(paths.reference(W) / f"{name}.npz", seen)
    words = tokenizer.build(PROMPTS.values(), length=8)
    words.save(paths.model(W) / tokenizer.FILE)
    description = dataclasses.replace(
        train_tiny.description(settings, data),
        unet=settings.model.cross_attention_unet(3, 8),
        condition="prompts",
        labels=0,
        text=ScratchConfig(words=words.size, length=8, width=8, layers=1, heads=2),
    )
    generator.save(paths.model(W), description, {})
    return settings, Trained(description.build().eval(), description)


def test_sentences_are_scored_by_what_they_state(home: Path) -> None:
    settings, trained = prompted(known=True)
    whole = sweep.guidance_settings(settings)
    rows, seconds = sweep.measure(settings, lambda _: trained, whole, home / "kept")
    assert list(rows[0]) == [
        "setting",
        "guidance_scale",
        "steps",
        "evaluations",
        "object_accuracy",
        "binding_accuracy",
        "relation_accuracy",
        "fd_classifier",
        "n_generated",
    ]
    assert [row["n_generated"] for row in rows] == [2 * 3, 2 * 3]
    assert len(seconds) == 2
    assert rows[0]["fd_classifier"] != rows[1]["fd_classifier"]

    evaluator = scene_evaluator.load(paths.evaluator(W))
    asked = reading.read(paths.model(W), [*PROMPTS.values()])
    metrics = []
    for seed in settings.sample.seeds[:2]:
        drawn = to_bytes(sample(trained, whole[1][1], asked, seed=seed))
        said = scene_evaluator.detect(evaluator, drawn)
        metrics.append(scene_metrics.of_images(said, [STATED[name] for name in PROMPTS]))
    for name in ("object_accuracy", "binding_accuracy", "relation_accuracy"):
        assert rows[1][name] == pytest.approx(fmean(one[name] for one in metrics))


def test_without_truth_there_are_distances(home: Path) -> None:
    settings, trained = prompted(known=False)
    scales = sweep.guidance_settings(settings)
    rows, _ = sweep.measure(settings, lambda _: trained, scales, home / "kept")
    columns = ["setting", "guidance_scale", "steps", "evaluations", "fd_rotation", "n_generated"]
    assert [list(row) for row in rows] == [columns, columns]
    found = sweep.best(rows)
    assert found["best_fd_rotation"] == min(row["fd_rotation"] for row in rows)


def test_other_prompts_and_another_truth_are_other_rows(home: Path) -> None:
    settings, trained = prompted(known=True)
    found = {sweep.identity(settings, trained.description)}
    write_annotations(paths.dataset(W), Annotations({}, {**STATED, "single_0": says("red cube")}))
    found.add(sweep.identity(settings, trained.description))
    captions.write(paths.dataset(W), {"0.png": ["a cube"]}, {**PROMPTS, "single_0": "a red cube"})
    found.add(sweep.identity(settings, trained.description))
    assert len(found) == 3
