"""The trained generator as an MLflow model: rows in, images out.

MLflow keeps a copy of this file beside the weights and runs the copy when the model is loaded, so
nothing is a pickle; the rest of the package is imported, and must be there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from numpy.typing import NDArray
from pydantic import ValidationError

from lockstep.config.schema import Sample
from lockstep.core.device import make_deterministic
from lockstep.core.errors import LockstepError, what_is_wrong
from lockstep.core.files import read_json
from lockstep.core.pixels import to_bytes
from lockstep.models.conditions import Conditions
from lockstep.sampling.conditions import condition_called
from lockstep.sampling.sample import load, sample
from lockstep.tracking.export import COLUMNS

_EXAMPLES = {"class": "cat", "objects": "red cube, cyan sphere", "prompt": "a red cube"}


class Sampler(PythonModel):
    """Draws what `lockstep sample` draws.

    A row is an image: number `number` of those of `seed`. Its columns:

    - `objects`, such as "red cube, cyan sphere", `class`, such as "cat", or `prompt`, such as "a
      red cube", where the model has a condition of that kind;
    - `seed`; where the model has a condition it may be left out: the parameter `seed`, or 0;
    - `number`, which may be left out: 0 beside a column `seed`, else the row's own, so that rows
      of nothing but objects are as different as the images of `lockstep sample --count`.

    The parameters `steps` and `guidance_scale` (where there is anything to guide by) are those of
    the evaluation that the model was first registered with, unless given.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights, the settings and the objects' names."""
        folder = Path(context.artifacts["model"])
        # Models registered before there was such a classifier do not speak of it.
        without = {"classifier_scale": 0.0, "classifier_interval": None}
        given = {**without, **read_json(folder / "sample.json")}
        self._settings = settings = Sample(**given)
        classifier = folder if settings.classifier_scale else None
        self._trained = load(folder, settings.weights, settings.guidance_weights, classifier)
        self._folder = folder

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> NDArray[np.uint8]:
        """(N, H, W, 3) bytes, an image for each of N rows.

        Raises `LockstepError` on objects that the model does not know, or settings that cannot be.
        """
        given = dict(params or {})
        first = int(given.pop("seed", 0))
        settings = self._with(given)
        conditions = self._conditions(model_input)
        rows = np.arange(len(conditions))
        seeded = "seed" in model_input
        seeds = model_input["seed"].to_numpy() if seeded else np.full_like(rows, first)
        numbers = rows * (not seeded)
        if "number" in model_input:
            numbers = model_input["number"].to_numpy()
        size = self._trained.description.size
        images = torch.zeros(len(rows), 3, size, size)
        threads = torch.get_num_threads()
        make_deterministic(self._trained.description.params["threads"])
        try:
            for seed in np.unique(seeds):
                own = np.flatnonzero(seeds == seed)
                images[own] = sample(
                    self._trained,
                    settings,
                    conditions[own.tolist()],
                    seed=int(seed),
                    indices=numbers[own].tolist(),
                )
        finally:
            torch.set_num_threads(threads)
        return to_bytes(images)

    def _with(self, given: dict[str, Any]) -> Sample:
        try:
            settings = dataclasses.replace(self._settings, **given)
        except ValidationError as error:
            raise LockstepError(what_is_wrong(error)) from None
        most = self._trained.description.schedule.timesteps
        if settings.steps > most:
            raise LockstepError(f"steps: {settings.steps} is above {most}, those of the training")
        return settings

    def _conditions(self, rows: pd.DataFrame) -> Conditions:
        """What each row asks for."""
        kind = self._trained.description.condition
        column = COLUMNS.get(kind)
        if column is None:
            return Conditions.none(len(rows))
        if not all(isinstance(text, str) for text in rows[column]):
            raise LockstepError(f"{column}: not text, such as {_EXAMPLES[column]!r}; give rows")
        return condition_called(kind).read(self._folder, list(rows[column]))


set_model(Sampler())
