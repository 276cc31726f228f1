from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import train_tiny
from lockstep import paths, records
from lockstep.evaluation import classifier, reference, spaces, sweep
from lockstep.generator import Description
from lockstep.params import Params
from lockstep.sampling import Trained
from tiny import tiny_dataset, tiny_params


def sweeping(**values: object) -> Params:
    params = tiny_params()
    return dataclasses.replace(params, sweep=dataclasses.replace(params.sweep, **values))


def test_each_guidance_scale_changes_nothing_else() -> None:
    params = sweeping(guidance_scales=(1.0, 2.5))
    settings = sweep.guidance_settings(params)
    assert [name for name, _ in settings] == ["1", "2.5"]
    for (_, setting), scale in zip(settings, (1.0, 2.5), strict=True):
        assert sweep.changes(params.sample, setting) == {"sample.guidance_scale": scale}


def test_each_sampler_with_each_number_of_steps() -> None:
    params = sweeping(samplers=("ddim_eta_1", "ddpm"), steps=(5, "all", 1000))
    assert [(name, s.sampler, s.eta, s.steps) for name, s in sweep.sampler_settings(params)] == [
        ("ddim_eta_1", "ddim", 1.0, 5),
        ("ddim_eta_1", "ddim", 1.0, 1000),
        ("ddpm", "ddpm", 0.0, 5),
        ("ddpm", "ddpm", 0.0, 1000),
    ]


ROWS = [
    {
        "setting": name,
        "guidance_scale": 2.0,
        "steps": steps,
        "accuracy_test": a,
        "accuracy_new": b,
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


def test_charts_are_pictures_and_always_the_same() -> None:
    for chart in (
        lambda: sweep.guidance_chart(ROWS),
        lambda: sweep.steps_chart(sweep.by_steps(ROWS, sweep.mean_accuracy), "accuracy"),
    ):
        with Image.open(io.BytesIO(chart())) as picture:
            assert picture.size == (640, 400)
        assert chart() == chart()


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Description:
    """What the stages before a sweep leave, with networks that have learnt nothing."""
    monkeypatch.chdir(tmp_path)
    params = tiny_params()
    data = tiny_dataset(paths.dataset("iclevr"))
    names = {"red cube": 0, "green cube": 1, "blue cube": 2}
    records.write(paths.dataset("iclevr") / "objects.json", names)
    for name, asked in (
        ("test", [["red cube"], ["blue cube", "red cube"]]),
        ("new_test", [["green cube"]]),
    ):
        (paths.dataset("iclevr") / f"{name}.json").write_text(json.dumps(asked))
    torch.manual_seed(0)
    for folder in (paths.judge("iclevr"), paths.reference("iclevr")):
        folder.mkdir(parents=True)
    classifier.save(classifier.Classifier(3), paths.judge("iclevr"))
    (seen,) = reference.of_space(params, data, spaces.own(params, data)).values()
    reference.save(paths.reference("iclevr") / "classifier.npz", seen)
    return train_tiny.description(params, data)


def test_settings_are_measured_once(outputs: Description, tmp_path: Path) -> None:
    params = sweeping(guidance_scales=(1.0, 3.0), seeds=2)
    params = dataclasses.replace(params, sample=dataclasses.replace(params.sample, steps=2))
    trained = Trained(outputs.build().eval(), outputs)
    settings = sweep.guidance_settings(params)
    kept = tmp_path / "kept"
    first, _ = sweep.measure(params, trained, settings[:1], kept)
    (row,) = first
    assert list(row) == [
        "setting",
        "guidance_scale",
        "steps",
        "accuracy_test",
        "accuracy_new_test",
        "fd_classifier",
        "n_generated",
    ]
    assert row["n_generated"] == 2 * 3  # pictures of each seed
    assert 0 <= row["accuracy_test"] <= 1
    whole, seconds = sweep.measure(params, trained, settings, kept)
    assert whole[0] == row
    assert [one["guidance_scale"] for one in whole] == [1.0, 3.0]
    assert whole[1]["fd_classifier"] != row["fd_classifier"]

    def refuses(*_: object) -> torch.Tensor:
        raise AssertionError("it was drawn again")

    trained.model.forward = refuses  # type: ignore[method-assign]
    assert sweep.measure(params, trained, settings, kept) == (whole, seconds)


def test_what_decides_a_row_decides_where_it_is_kept(outputs: Description) -> None:
    params = sweeping(seeds=1)
    sample = dataclasses.replace(params.sample, weights="last")
    found = {
        sweep.identity(one, outputs)
        for one in (
            params,
            sweeping(seeds=2),
            dataclasses.replace(params, threads=params.threads + 1),
            dataclasses.replace(params, sample=sample),
        )
    }
    found.add(sweep.identity(params, dataclasses.replace(outputs, fingerprint="1" * 64)))
    first = sweep.identity(params, outputs)
    (paths.judge("iclevr") / "another").write_text("judge")
    found.add(sweep.identity(params, outputs))
    assert len(found) == 6
    (paths.judge("iclevr") / "another").unlink()
    assert sweep.identity(params, outputs) == first
    # Another list of settings has rows in common with this one.
    assert sweep.identity(sweeping(seeds=1, guidance_scales=(9.0,)), outputs) in found
