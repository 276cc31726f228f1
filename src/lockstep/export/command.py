"""`lockstep export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.load import load_changed
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_folder
from lockstep.export.origin import check_model

if TYPE_CHECKING:
    from lockstep.export.folder import Exported


def export(
    workload: str, out: Path, weights: str | int | None = None, license: str | None = None
) -> None:
    """Write a workload's model as a folder of diffusers with a card, and say what it is.

    Parameters
    ----------
    out
        Not there yet, or empty.
    weights
        Instead of `sample.weights`.
    license
        For the card, as the hub calls it.

    Raises
    ------
    LockstepError
        If there is no such model or it is outdated, or `out` has something in it.
    """
    params, place = load_changed(workload, paths.PARAMS, weights=weights), _free(out)
    with atomic_folder(place) as unfinished:
        made = write(unfinished, params, out.name, license)
    print(f"{out}: {made.pipeline}")
    if made.is_own:
        print(f"(pipeline.py in it: diffusers has none with {', '.join(made.missing)})")


def write(out: Path, params: Params, name: str, license: str | None) -> Exported:
    """Write the folder and its card; `name` is what the card loads. Raises as `export`."""
    classifier = paths.guiding_classifier(params.workload, params.sample.classifier_scale)
    lock = check_model(params, classifier)
    # Here: diffusers takes seconds, and a mistake should not.
    try:
        from lockstep.export import card, folder
    except ImportError as error:
        raise LockstepError(
            f"an export wants diffusers ({error}); `pip install -e '.[pretrained]'`"
        ) from None
    made = folder.write(out, paths.model(params.workload), params.sample, classifier)
    if not card.write(out, params, made, lock, name, license):
        target = f"evaluate@{params.workload}"
        print(f"the card has no metrics: `dvc repro {target}` makes them", file=sys.stderr)
    return made


def _free(out: Path) -> Path:
    """Where to write. Raises `LockstepError` if something would be lost there."""
    try:
        place = out.resolve()
        if place.is_dir():
            if any(place.iterdir()):
                raise LockstepError(f"{out}: is not empty; name a new folder")
        elif place.exists():
            raise LockstepError(f"{out}: is a file; name a new folder")
        elif any(above.is_file() for above in place.parents):
            raise LockstepError(f"{out}: leads through a file; name a new folder")
    except OSError as error:  # such as a name that is too long
        raise LockstepError(f"{out}: {error.strerror}; name another folder") from None
    return place
