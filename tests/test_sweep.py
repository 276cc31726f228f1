from __future__ import annotations

import dataclasses
import io

import pytest
from PIL import Image

from lockstep.evaluation import sweep
from lockstep.params import Params
from tiny import tiny_params


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
    others = {"ddim_eta_1": "", "dpmpp_2m": ""}
    assert sweep.by_steps(ROWS, sweep.mean_accuracy) == [
        {"steps": 5, "ddpm": pytest.approx(0.1), "ddim": pytest.approx(0.2), **others},
        {"steps": 10, "ddpm": pytest.approx(0.3), "ddim": pytest.approx(0.4), **others},
    ]
    (row,) = sweep.by_steps(ROWS[:1], sweep.distance)
    assert row == {"steps": 10, "ddpm": 3.0, "ddim": "", **others}


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
