"""Labels: each image shows the objects of a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.data.labels import PROMPT_FILES, multi_hot, read_objects, read_prompts
from lockstep.models.conditions import Conditions
from lockstep.sampling.conditions.names import read_names, rows_of
from lockstep.sampling.targets import ImageSet, Targets

# The denoising strip of the report that this project starts from.
_STRIP = ("red sphere", "cyan cylinder", "cyan cube")


def targets(params: Params) -> Targets:
    """The images that `test.json` and `new_test.json` ask for, beside the packed arrays.

    Raises `LockstepError` if one of the files is not as it should be.
    """
    folder = paths.dataset(params.workload)
    objects = read_objects(folder / "objects.json")
    prompts = {name: read_prompts(folder / f"{name}.json", objects) for name in PROMPT_FILES}

    def labels(rows: list[list[str]]) -> Conditions:
        return Conditions.of(torch.from_numpy(multi_hot(rows, objects)))

    # Other objects than i-CLEVR's: the strip shows the first set that is asked for.
    known = all(name in objects for name in _STRIP)
    return Targets(
        sets=tuple(
            ImageSet(
                name,
                labels(rows),
                [f"images/{name}/{number}.png" for number in range(len(rows))],
                shown=len(rows),
            )
            for name, rows in prompts.items()
        ),
        strips=labels([list(_STRIP) if known else prompts["test"][0]]),
        exactly=True,
    )


def read(folder: Path, texts: Sequence[str | None]) -> Conditions:
    """Texts such as "red cube, cyan sphere". Raises `LockstepError` on an unknown object."""
    names = read_names(folder)
    chosen = []
    for text in texts:
        if text is None:
            raise LockstepError(
                f"{folder}: wants objects, such as {next(iter(names))!r}; name some"
            )
        chosen.append([name.strip() for name in text.split(",") if name.strip()])
    return rows_of(names, chosen)


def warnings(folder: Path, text: str | None) -> list[str]:
    """None: a text is read whole or refused."""
    return []
