"""A workload's outputs, made up: what stands on disk after a pipeline that never ran."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.files import write_csv, write_json
from lockstep.core.images import write_animation, write_png
from lockstep.core.provenance import write_provenance
from lockstep.data import dataset
from lockstep.diffusion import NoiseSchedule
from lockstep.models import generator
from lockstep.training import history
from lockstep.training.history import History
from tiny import tiny_params

OBJECTS = {"red cube": 0, "cyan sphere": 1, "blue cylinder": 2}
SETTINGS = [{"sample.guidance_scale": 1.0}, {"sample.guidance_scale": 2.5}]
SAMPLERS = [{"sample.sampler": "ddpm", "sample.steps": 5}]


def settings() -> Params:
    params = tiny_params()
    some = dataclasses.replace(
        params.sample, steps=3, guidance_scale=2.0, batch_size=3, classifier_scale=0.0
    )
    return dataclasses.replace(params, sample=some)


def finished(workload: str, labels: int, seed: int = 0) -> generator.Description:
    """A workload's outputs, made up: an untrained model and metrics out of the air."""
    params = settings()
    rng = np.random.default_rng(0)
    paths.dataset(workload).mkdir(parents=True, exist_ok=True)
    split = np.array([0, 0, 0, 0, 0, 1], np.uint8)
    dataset.pack(
        paths.dataset(workload),
        iter(rng.integers(0, 255, (6, 16, 16, 3)).astype(np.uint8)),
        np.zeros((6, labels), np.uint8),
        split,
        {"dataset.seed": 0},
        mirrorable=True,
    )
    torch.manual_seed(seed)
    description = generator.Description(
        unet=params.model.unet(),
        condition="labels" if labels else "none",
        labels=labels,
        size=16,
        schedule=NoiseSchedule("linear", 50, 1e-4, 0.02),
        prediction="epsilon",
        precision="fp32",
        fingerprint=f"{seed:064}",
        params={
            "dataset.seed": 0,
            "threads": 1,
            **params.deciding("model", "diffusion", "train"),
        },
    )
    paths.model(workload).mkdir(parents=True, exist_ok=True)
    weights = {name: description.build().state_dict() for name in ("ema", "last")}
    generator.save(paths.model(workload), description, weights)
    if labels:
        write_json(paths.model(workload) / "names.json", OBJECTS)
    curves = History([{"step": 5, "loss": 0.5, "lr": 0.1}], [{"step": 5, "val_loss": 0.6}])
    history.write(paths.plots(workload, "train"), curves)
    write_json(paths.metrics(workload, "train"), history.summary(curves))
    paths.samples(workload).mkdir(parents=True, exist_ok=True)
    sampled = params.deciding("sample")
    write_provenance(paths.samples(workload), sampled, model=description.fingerprint)
    write_provenance(paths.evaluator(workload), {"evaluator.seed": 0})
    for stage in ("collect", "autoencoder", "evaluator", "noisy_classifier"):
        write_json(paths.metrics(workload, stage), {})
    write_provenance(paths.reference(workload), {"evaluate.reference": "train"})
    write_provenance(paths.tables(workload, "evaluate"), {"evaluate.count": None})
    write_json(paths.metrics(workload, "evaluate"), {"swd": 12.5})
    for stage, name in (("sample", "test"), ("evaluate", "copies")):
        write_png(paths.plots(workload, stage) / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    strips = paths.strips(workload)
    for number in (1, 2):
        write_png(strips / f"{number}.png", np.full((4, 8, 3), number, np.uint8))
    moving = np.array([200, 100, 0], np.uint8)[:, None, None, None].repeat(3, axis=3)
    write_animation(strips / "denoising.gif", moving, seconds=0.2)
    return description


def swept(
    description: generator.Description,
    accuracy: float = 0.25,
    workload: str = "iclevr",
    name: str = "accuracy_test",
) -> None:
    """A sweep's outputs, made up."""
    folder = paths.tables(workload, "sweep")
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {name: accuracy, "fd_classifier": 3.0}
    guidance = [
        {"setting": f"{scale:g}", "guidance_scale": scale, "steps": 3, **metrics}
        for scale in (1.0, 2.5)
    ]
    write_csv(folder / "guidance.csv", guidance)
    samplers = [{"setting": "ddpm", "guidance_scale": 2.0, "steps": 5, **metrics}]
    write_csv(folder / "samplers.csv", samplers)
    write_png(paths.plots(workload, "sweep") / "guidance.png", np.zeros((4, 4, 3), np.uint8))
    write_provenance(
        folder,
        settings().deciding("sample"),
        model=description.fingerprint,
        settings={"guidance": SETTINGS, "samplers": SAMPLERS},
    )
    write_json(paths.metrics(workload, "sweep"), {"best_guidance_scale": 2.5})
