"""Writes a trained generator as a folder that MLflow keeps, loads and serves."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from lockstep.config.schema import Condition, is_guided
from lockstep.config.weights import file_stem
from lockstep.core.files import write_json
from lockstep.core.provenance import FILE
from lockstep.core.weights import save_weights
from lockstep.models import generator, noisy_classifier
from lockstep.sampling.conditions.names import read_names

logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)

# What `pyfunc.py` and all that it imports need. Named, not found out: that takes MLflow seconds.
# Lockstep itself is on no index.
_NEEDED = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "pyyaml",
    "safetensors",
    "tokenizers",
    "torch",
    "tqdm",
)

# The column of a row that says what its image is to show.
COLUMNS: dict[Condition, str] = {"classes": "class", "labels": "objects", "prompts": "prompt"}


def write(
    out: Path, model: Path, settings: Mapping[str, Any], about: Model, classifier: Path | None
) -> None:
    """Write the folder `out`, which does not exist yet.

    `settings` are the values of `sample` to generate with; of the weights in the generator's folder
    `model` only those that they name are taken. `about` is what MLflow knows of the model, and
    `classifier` the folder of the noisy classifier that guides it, if one does.
    """
    description = generator.describe(model)
    taken = [settings["weights"], settings.get("guidance_weights")]
    names = [file_stem(name) for name in taken if name is not None]
    example: dict[str, list[Any]] = {"seed": [0]}
    with tempfile.TemporaryDirectory() as staging:
        folder = Path(staging) / "model"
        folder.mkdir()
        for file in ("model.json", FILE):
            shutil.copyfile(model / file, folder / file)
        for name in names:  # read, not copied: it may be made from others
            save_weights(generator.read_weights(model, name), folder / f"{name}.safetensors")
        generator.copy_tools(model, folder)
        if classifier is not None:
            for file in noisy_classifier.FILES:
                shutil.copyfile(classifier / file, folder / file)
        if (column := COLUMNS.get(description.condition)) is not None:
            example = {column: [_example(description, model)], **example}
        # Of the processes that drew together nothing is left in the images.
        write_json(folder / "sample.json", {**settings, "processes": 1})
        pyfunc.save_model(
            out,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"model": str(folder)},
            signature=_signature(description, settings),
            input_example=pd.DataFrame(example),
            # What is installed from one index may have a suffix that another does not know.
            pip_requirements=[
                f"{name}=={version(name).partition('+')[0]}" for name in _needed(description)
            ],
            mlflow_model=about,
        )


def _example(description: generator.Description, folder: Path) -> str:
    """What a row may ask for."""
    if description.condition == "prompts":
        return "a red cube"
    names = list(read_names(folder))
    return names[0] if description.condition == "classes" else ", ".join(names[:2])


def _needed(description: generator.Description) -> tuple[str, ...]:
    clip = isinstance(description.text, generator.FrozenConfig)
    pretrained = description.params.get("autoencoder.kind") == "pretrained"
    return (*_NEEDED, *(["transformers"] if clip else []), *(["diffusers"] if pretrained else []))


def _signature(description: generator.Description, settings: Mapping[str, Any]) -> ModelSignature:
    size, column = description.size, COLUMNS.get(description.condition)
    columns: list[ColSpec | TensorSpec] = [
        # MLflow takes no rows without a column.
        ColSpec(DataType.long, "seed", required=column is None),
        ColSpec(DataType.long, "number", required=False),
    ]
    changes = [ParamSpec("steps", DataType.long, settings["steps"])]
    if is_guided(description.condition, settings.get("guidance_weights")):
        scale = float(settings["guidance_scale"])
        changes.append(ParamSpec("guidance_scale", DataType.double, scale))
    if column is not None:
        columns = [ColSpec(DataType.string, column), *columns]
        changes.append(ParamSpec("seed", DataType.long, 0))
    return ModelSignature(
        inputs=Schema(columns),
        outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))]),
        params=ParamSchema(changes),
    )
