"""What DVC's experiments lose, or hide, and does not say: see each function."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from lockstep.core import paths
from lockstep.core.errors import LockstepError

_SECOND = 10**9  # nanoseconds


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


def warn_of_cache() -> None:
    """Say on stderr if DVC will fail to make a copy for an experiment of `--temp` or `--queue`.

    It writes where its cache is into a file that must be ASCII (DVC 3.67), by default a folder in
    the checkout. Such an experiment ends before any stage begins; the rest of DVC works.
    """
    home = paths.home()
    if str(home).isascii() or home != Path.cwd():
        return
    # Here: few paths need it, and it is slow to import.
    from dvc.config import Config

    cache = Config(str(home / ".dvc")).get("cache", {}).get("dir")
    if cache is None or not str(cache).isascii():
        print(
            f"warning: {home}: not ASCII, with which `dvc exp run --temp` and `--queue` fail; all "
            "else works, and they do after `dvc cache dir --local FOLDER`, an ASCII path",
            file=sys.stderr,
        )


def changed_params() -> bool:
    """Whether `dvc exp run` has put values into the main checkout's params.yaml that git has not.

    DVC leaves them there when a stage fails; under `--temp` and `--queue` it was a copy's. They are
    compared by content. Git's index goes by size and by whole seconds, and DVC writes the file
    twice within one: where git would be fooled, the file's time moves by a second, so that `git
    status` shows the change and `git checkout` takes it back.
    """
    if "DVC_EXP_NAME" not in os.environ or paths.home() != Path.cwd():
        return False
    name = str(paths.PARAMS)
    here, committed = _said("hash-object", "--", name), _said("rev-parse", f"HEAD:./{name}")
    if here is None or committed is None or here == committed:
        return False
    # What git says now proves nothing: it reads files as young as its index, which is written anew.
    noted = re.search(rb"mtime: (\d+)", _said("ls-files", "--debug", "--", name) or b"")
    times = paths.PARAMS.stat()
    if noted is not None and int(noted[1]) == times.st_mtime_ns // _SECOND:
        os.utime(paths.PARAMS, ns=(times.st_atime_ns, times.st_mtime_ns - _SECOND))
    return True


def _said(*arguments: str) -> bytes | None:
    """What a git command prints; None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except OSError:
        return None  # no git
    return done.stdout if done.returncode == 0 else None
