"""Folders of the pipeline with tiny untrained networks, as `lockstep app` reads them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
import yaml

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.provenance import write_provenance
from lockstep.data import dataset
from lockstep.evaluation import classifier, reference
from lockstep.evaluation.classifier import Classifier
from lockstep.evaluation.rows import SplitImages
from lockstep.evaluation.space import network_space
from lockstep.models import generator
from lockstep.models.build import noise_schedule
from lockstep.models.generator import Description
from lockstep.models.text import ScratchConfig, tokenizer
from tiny import ROOT, tiny_params

OBJECTS = ("red cube", "cyan sphere", "blue <cylinder>")


def write_params(**sample: object) -> None:
    """params.yaml with few steps, in the current folder."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    for workload in document["workloads"]:
        document[workload]["sample"] = {"steps": 4, **sample}
    document["threads"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(document), "utf-8")


def _description(params: Params) -> Description:
    return Description(
        unet=params.model.unet(),
        condition="none",
        labels=0,
        size=16,
        schedule=noise_schedule(params.diffusion),
        prediction="v",
        precision="fp32",
        fingerprint="0" * 64,
        params={},
    )


def _save(folder: Path, description: Description, seed: int) -> None:
    torch.manual_seed(seed)
    model = description.build()
    with torch.no_grad():  # what is 0 at first would hide the condition
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    weights = model.state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    generator.save(folder, description, {"ema": weights, "last": weights})


def write_unconditional(workload: str, seed: int = 0) -> None:
    """A model that can be asked for nothing."""
    _save(paths.model(workload), _description(tiny_params()), seed)


def write_labelled(
    workload: str, seed: int = 0, folder: Path | None = None, condition: str = "labels"
) -> None:
    """A model of three objects or classes, one of them with a name that HTML takes for a tag."""
    out = folder or paths.model(workload)
    described = dataclasses.replace(
        _description(tiny_params()), condition=condition, labels=len(OBJECTS)
    )
    _save(out, described, seed)
    names = {name: number for number, name in enumerate(OBJECTS)}
    (out / "names.json").write_text(json.dumps(names), "utf-8")


def write_prompted(workload: str) -> None:
    """A model of sentences that knows a few words and reads eight of a sentence."""
    params = tiny_params()
    words = tokenizer.build(["a red cube and a cyan sphere"], length=8)
    described = dataclasses.replace(
        _description(params),
        unet=params.model.cross_attention_unet(3, 8),
        condition="prompts",
        text=ScratchConfig(words=words.size, length=8, width=8, layers=1, heads=2),
    )
    _save(paths.model(workload), described, 0)
    words.save(paths.model(workload) / tokenizer.FILE)


def write_surroundings(workload: str) -> None:
    """Data set, evaluator and reference of the three objects."""
    rng = np.random.default_rng(0)
    conditions = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 20)]
    images = rng.integers(0, 255, (20, 16, 16, 3)).astype(np.uint8)
    split = np.zeros(20, np.uint8)
    split[:4] = 1
    folder = paths.dataset(workload)
    folder.mkdir(parents=True)
    dataset.pack(folder, iter(images), conditions, split, {}, mirrorable=True, names=OBJECTS)
    torch.manual_seed(0)
    network = Classifier(len(OBJECTS)).eval()
    paths.evaluator(workload).mkdir(parents=True)
    classifier.save(network, paths.evaluator(workload))
    write_provenance(paths.evaluator(workload), {})
    data = dataset.open_dataset(folder)
    space = network_space("classifier", network.features)
    statistics = reference.statistics_of(space.features(SplitImages(data, "train")))
    paths.reference(workload).mkdir(parents=True)
    reference.save(paths.reference(workload) / "classifier.npz", statistics)
