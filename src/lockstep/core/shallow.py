"""Experiments that DVC would lose: those of `--temp` and `--queue` in a shallow clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lockstep.core import paths
from lockstep.core.errors import LockstepError


def check_history() -> None:
    """Whether an experiment that runs in a copy of the checkout can get back into it.

    DVC commits it in the copy and fetches that commit. From a clone without its whole history the
    copy gets commits without their parents, out of which nothing is fetched: DVC says neither that
    nor where the results went. In the checkout itself, experiments and `dvc repro` need no history.

    Raises
    ------
    LockstepError
        This is such a copy, of a shallow clone.
    """
    home = paths.home()
    if home == Path.cwd():
        return
    command = ["git", "-C", str(home), "rev-parse", "--is-shallow-repository"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return  # no git
    if said.strip() == "true":
        raise LockstepError(
            f"{home}: a shallow clone, in which DVC records no experiment of `--temp` or "
            "`--queue`; run `git fetch --unshallow` there first"
        )
