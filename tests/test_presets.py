"""Published settings: each fits, and its training and drawing begin."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lockstep import dataset, params, presets
from lockstep.generator import Description
from lockstep.sampling import Trained, sample
from lockstep.training import loop
from lockstep.training.checkpoint import Checkpoints
from tiny import ROOT

COMMITTED = ROOT / "params.yaml"
NAMES = [path.stem for path in sorted((ROOT / "presets").glob("*.yaml"))]
ONLY = [
    (name, workload)
    for name in NAMES
    for workload in params.WORKLOADS
    if any(t.endswith(f"@{workload}") for t in presets.load(name, ROOT / "presets").targets)
]
LABELS = {"iclevr": 24}


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "presets").glob("*.yaml")])
def test_every_preset_fits_and_its_arguments_give_its_values(name: str) -> None:
    preset = presets.load(name, ROOT / "presets")
    for workload in params.WORKLOADS:
        params.parse(preset.over(params.read(COMMITTED)), workload)
    flags = preset.arguments()[: -len(preset.targets)]
    assert preset.arguments()[len(flags) :] == preset.targets
    assert set(flags[::2]) == {"-S"}
    assert not any(" " in flag for flag in flags), "$(lockstep preset ...) splits at spaces"
    for flag, (key, value) in zip(flags[1::2], preset.values.items(), strict=True):
        name_of, _, text = flag.removeprefix("++").partition("=")
        assert name_of == key
        assert yaml.load(text, Loader=params._Loader) == value


def test_an_overlay_leaves_the_document_alone() -> None:
    document = params.read(COMMITTED)
    before = copy.deepcopy(document)
    presets.load("smoke", ROOT / "presets").over(document)
    assert document == before


def test_every_published_system_has_one() -> None:
    assert set(NAMES) >= {"lab6", "hw5", "eai", "anime", "best-iclevr", "smoke"}
    assert {workload for name, workload in ONLY if name == "smoke"} == set(params.WORKLOADS)


@pytest.mark.parametrize(("name", "workload"), ONLY)
def test_its_first_steps_run(name: str, workload: str, tmp_path: Path) -> None:
    preset = presets.load(name, ROOT / "presets").only(workload)
    found = params.parse(preset.over(params.read(COMMITTED)), workload)
    assert found.train.batch_size >= found.train.accumulation
    # All of it but the length, the sizes of batches and pictures, and a precision for a GPU.
    precision = "bf16" if found.train.precision == "fp16" else "fp32"
    train = dataclasses.replace(
        found.train,
        steps=2,
        epochs=None,
        batch_size=2,
        accumulation=min(2, found.train.accumulation),
        warmup_steps=1,
        validate_every=2,
        precision=precision,
        snapshots=(),
        snapshot_every_epochs=None,
    )
    wanted = dataclasses.replace(found, train=train, grid_every_epochs=None)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    conditions = rng.integers(0, 2, (6, LABELS.get(workload, 0))).astype(np.uint8)
    split = np.array([0, 0, 0, 0, 1, 1], np.uint8)
    dataset.pack(tmp_path, iter(pictures), conditions, split, {}, mirrorable=True)
    data = dataset.open_dataset(tmp_path)
    trained = loop.train(wanted, data, precision, Checkpoints(tmp_path / "scratch"))
    assert len(trained.history.validation) == 1
    (drawn_with, *_) = train.averages()
    description = Description(
        unet=wanted.model.unet(),
        labels=LABELS.get(workload, 0),
        size=32,
        schedule=wanted.diffusion.noise_schedule(),
        prediction=wanted.diffusion.prediction,
        precision=precision,
        fingerprint="",
        params={},
    )
    model = description.build()
    model.load_state_dict(trained.weights()[drawn_with])
    settings = dataclasses.replace(found.sample, steps=2)
    labels = torch.from_numpy(conditions[:1]).float()
    drawn = sample(Trained(model.eval(), description), settings, labels, seed=0)
    assert drawn.shape == (1, 3, 32, 32)
    assert drawn.isfinite().all()
