"""The run of a training while it goes on: its data, rows and images, and the machine's load."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json
from lockstep.core.images import write_png
from lockstep.core.provenance import FILE, read_provenance
from lockstep.data.dataset import SPLITS
from lockstep.sampling.preview import Preview
from lockstep.tracking import dvc_lock
from lockstep.training.history import Row

GRIDS = "samples"
CARD = "lockstep.card"
CARDS = "data"
"""The folder of a run's artifacts with the card of its data set."""
_STRIPS = "strips"
_SECONDS_BETWEEN_SAMPLES = 10
# Enough to tell data sets apart, and to be read in a table; MLflow takes 36 at most.
_DIGITS = 16


@dataclass
class Live:
    """The run of a training that goes on.

    A store that fails on the way does not end the training: stderr says so, and the rows are
    written when the training is recorded next.
    """

    client: MlflowClient
    run_id: str
    write: Callable[[int, Row], None]
    shown: set[int]
    in_one_line: Callable[[], AbstractContextManager[None]]

    def log(self, step: int, values: Row) -> None:
        """A row of the history, unless it stands there already."""
        with self._not_fatal(step):
            self.write(step, values)

    def show(self, step: int, preview: Preview) -> None:
        """The images of this step, unless they are there.

        MLflow shows the grids of all steps side by side; the strips are `1.png` and up in the
        step's own folder.
        """
        if step in self.shown:
            return
        with self._not_fatal(step):
            with tempfile.TemporaryDirectory() as folder:
                for number, strip in enumerate(preview.strips, 1):
                    write_png(Path(folder) / f"{number}.png", strip)
                self.client.log_artifacts(self.run_id, folder, f"{_STRIPS}/{step:09d}")
            # Last: where there is a grid, there are the strips.
            self.client.log_image(self.run_id, preview.grid, key=GRIDS, step=step)
            self.shown.add(step)

    @contextmanager
    def _not_fatal(self, step: int) -> Iterator[None]:
        try:
            with self.in_one_line():
                yield
        except LockstepError as error:
            print(f"step {step} is not in MLflow: {error}", file=sys.stderr)


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


@contextmanager
def machine_watched(uri: str, run_id: str) -> Iterator[None]:
    """The machine's load goes into the run meanwhile; no training ends for want of that."""
    monitor = None
    try:
        monitor = SystemMetricsMonitor(
            run_id, _SECONDS_BETWEEN_SAMPLES, resume_logging=True, tracking_uri=uri
        )
        monitor.start()
    except Exception as error:
        print(f"the machine is not watched: {error}", file=sys.stderr)
    try:
        yield
    finally:
        if monitor is not None:
            monitor.finish()
