"""What every stage does at its start and end: arguments, parameters, errors of one line."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from lockstep import distributed, paths
from lockstep import params as parameters
from lockstep.errors import LockstepError
from lockstep.params import WORKLOADS, Params

# What a disk says that has no room, no right to be written to, or no more life in it.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


def run(
    main: Callable[[Params], None], processes: Callable[[Params], int] | None = None
) -> NoReturn:
    """Run a stage for the workload named on the command line; exit 1 with one line if it fails.

    With `processes` above 1, or under torchrun, `main` runs in several processes at once; without
    `processes` it is not made for that.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    workload = parser.parse_args().workload

    def work() -> None:
        if processes is None:
            if distributed.size() > 1:
                raise LockstepError("this stage runs in one process; start it without torchrun")
            main(parameters.load(workload, paths.PARAMS))
        elif distributed.launched():
            with distributed.group():
                with distributed.together():
                    params = parameters.load(workload, paths.PARAMS)
                main(params)
        else:
            params = parameters.load(workload, paths.PARAMS)
            if processes(params) > 1:
                distributed.launch(processes(params))
            else:
                main(params)

    sys.exit(reported(work))


def reported(action: Callable[[], None]) -> int:
    """Run; a `LockstepError`, or the disk's refusal, becomes one line on stderr.

    Where an experiment has failed in the main checkout, a second line says how to take it back.
    Gives the exit status.
    """
    who = f"process {distributed.rank()}: " if distributed.rank() else ""
    status = 1
    try:
        action()
        status = 0
    except LockstepError as error:
        print(f"error: {who}{error}", file=sys.stderr)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        print(f"error: {who}{error.filename or 'disk'}: {error.strerror}", file=sys.stderr)
    finally:
        if status != 0 and _experiment_changed_params():
            print(
                f"{paths.PARAMS} keeps the experiment's values; to go back: `git checkout "
                f"{paths.PARAMS}`, then `dvc repro`, which takes the outputs from the cache",
                file=sys.stderr,
            )
    return status


def _experiment_changed_params() -> bool:
    """Whether `dvc exp run` has started this in the main checkout, with a params.yaml not git's.

    DVC leaves it so when a stage fails; under `--temp` and `--queue` it was a copy's.
    """
    in_place = "DVC_EXP_NAME" in os.environ and paths.home() == Path.cwd()
    if not in_place or distributed.launched():  # the process that launched says it
        return False
    command = ["git", "diff", "--quiet", "HEAD", "--", str(paths.PARAMS)]
    try:
        return subprocess.run(command, check=False).returncode == 1
    except OSError:
        return False  # no git


def progress(description: str, unit: str = "it") -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A progress bar with rate and remaining time, as a wrapper of (iterable, total)."""

    def wrap(items: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(items, desc=description, total=total, unit=unit, mininterval=1)

    return wrap
