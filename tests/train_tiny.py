"""A tiny training as a program: `train_tiny.py ROOT RUN CHANGES`, also under torchrun.

It trains on ROOT/data with its checkpoints in ROOT/RUN, and leaves ROOT/RUN.safetensors (all
weights), ROOT/RUN.json (the history) and, if it shows any, the last preview as ROOT/RUN.npz;
ROOT/RUN.log has the steps of which there was something to say, as they came. With `track` among
CHANGES it is followed in MLflow, as the workload RUN.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent / "src"), str(TESTS)]

from lockstep import stage  # noqa: E402
from lockstep.config.schema import Params  # noqa: E402
from lockstep.core import distributed, nodes  # noqa: E402
from lockstep.core.files import write_json  # noqa: E402
from lockstep.core.weights import save_weights  # noqa: E402
from lockstep.data.dataset import Dataset, open_dataset  # noqa: E402
from lockstep.models.build import noise_schedule  # noqa: E402
from lockstep.models.generator import Description, Generator  # noqa: E402
from lockstep.sampling import preview  # noqa: E402
from lockstep.training import loop  # noqa: E402
from lockstep.training.checkpoint import Checkpoints  # noqa: E402
from tiny import tiny_params, weights_of  # noqa: E402

if TYPE_CHECKING:
    from lockstep.tracking.live import Live

FINGERPRINT = "0" * 64


def train(root: Path, run: str, changes: dict[str, object]) -> None:
    every = changes.pop("checkpoint_every", 4)
    grids = changes.pop("grid_every_epochs", None)
    track = changes.pop("track", False)
    params = tiny_params(**changes)
    params = dataclasses.replace(
        params,
        model=dataclasses.replace(params.model, placement_heads=2),
        checkpoint_every=every,
        grid_every_epochs=grids,
    )
    data = open_dataset(root / "data")

    def say(step: int, row: dict[str, float]) -> None:
        if live is not None:
            live.log(step, row)
        if distributed.is_main():
            print("step", step, flush=True)
            with (root / f"{run}.log").open("a") as file:
                file.write(f"{step}\n")

    def show(step: int, model: Generator) -> None:
        shown = preview.generate(model, description(params, data), params, data)
        if live is not None:
            live.show(step, shown)
        if distributed.is_main():
            np.savez(root / f"{run}.npz", grid=shown.grid, strips=np.stack(shown.strips))

    with following(run, params) if track else nullcontext() as live:
        state = loop.train(params, data, "fp32", Checkpoints(root / run), say, show)
        weights = weights_of(state)
        if distributed.is_main():
            save_weights(weights, root / f"{run}.safetensors")
            write_json(root / f"{run}.json", dataclasses.asdict(state.history))


def following(run: str, params: Params) -> AbstractContextManager[Live]:
    from lockstep.tracking.live import followed  # here: the others need no MLflow

    return followed(run, FINGERPRINT, params.deciding("model", "train"))


def description(params: Params, data: Dataset) -> Description:
    return Description(
        unet=params.model.unet(),
        condition="classes",
        labels=data.conditions.shape[1],
        size=data.images.shape[1],
        schedule=noise_schedule(params.diffusion),
        prediction=params.diffusion.prediction,
        precision="fp32",
        fingerprint=FINGERPRINT,
        params={},
    )


def main() -> None:
    root, run, changes = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    processes = changes.pop("launch", 1)
    if distributed.launched():
        if "TINY_DIES" in os.environ:
            os._exit(7)
        with distributed.group():
            distributed.check_alike({"ROOT/data": os.environ.get("TINY_DATA", "")})
            train(root, run, changes)
    elif (several := nodes.of_environment()) is not None:
        several.choose_interface()
        distributed.launch(processes, several)
    elif processes > 1:
        distributed.launch(processes)
    else:
        train(root, run, changes)


if __name__ == "__main__":
    sys.exit(stage.reported(main))
