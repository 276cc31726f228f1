"""The data set of a training, as MLflow shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from lockstep.core import paths
from lockstep.core.files import read_json
from lockstep.core.provenance import FILE, read_provenance
from lockstep.data.dataset import SPLITS
from lockstep.tracking import dvc_lock

CARD = "lockstep.card"
CARDS = "data"
"""The folder of a run's artifacts with the card of its data set."""
# Enough to tell data sets apart, and to be read in a table; MLflow takes 36 at most.
_DIGITS = 16


def data_of_training(workload: str, params: Mapping[str, Any]) -> DatasetInput | None:
    """The packed data set, if it is here and was made with what `params` say of it.

    Its digest is the beginning of the SHA-256 of the arrays, which stands whole in the profile
    beside the counts; the source has DVC's hash too, where dvc.lock has one. A tag says which
    artifact of the run is its data card.
    """
    folder = paths.dataset(workload)
    if not (folder / "dataset.json").exists():
        return None
    packed = read_json(folder / "dataset.json")
    if any(params.get(name) != value for name, value in read_provenance(folder).params.items()):
        return None
    source = {"uri": folder.as_posix()}
    if md5 := dvc_lock.load().made.get(folder.as_posix()):
        source["dvc_md5"] = md5
    profile = {name: packed[name] for name in ("images", *SPLITS)}
    data = Dataset(
        name=workload,
        digest=packed["digest"][:_DIGITS],
        source_type="local",
        source=json.dumps(source),
        profile=json.dumps({**profile, "sha256": packed["digest"]}),
    )
    tags = {MLFLOW_DATASET_CONTEXT: "training"}
    if (card := card_of(workload)) is not None:
        tags[CARD] = f"{CARDS}/{card.name}"
    return DatasetInput(data, [InputTag(key, value) for key, value in tags.items()])


def card_of(workload: str) -> Path | None:
    """The data card of the packed data set, if it is here: of what that was packed from."""
    card, collected = paths.card(workload), paths.collected(workload)
    if not (card.exists() and (collected / FILE).exists()):
        return None
    packed = read_provenance(paths.dataset(workload)).params
    made = read_provenance(collected).params
    return card if all(packed.get(name) == value for name, value in made.items()) else None
