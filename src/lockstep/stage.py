"""What every stage does at its start and end: arguments, parameters, errors of one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from tqdm import tqdm

from lockstep import params as parameters
from lockstep import paths
from lockstep.errors import LockstepError
from lockstep.params import WORKLOADS, Params


def run(main: Callable[[Params], None]) -> NoReturn:
    """Run a stage for the workload named on the command line; exit 1 with one line if it fails."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    workload = parser.parse_args().workload
    sys.exit(reported(lambda: main(parameters.load(workload, paths.PARAMS))))


def reported(action: Callable[[], None]) -> int:
    """Run; a `LockstepError` becomes one line on stderr. Gives the exit status."""
    try:
        action()
    except LockstepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def progress(description: str, unit: str = "it") -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A progress bar with rate and remaining time, as a wrapper of (iterable, total)."""

    def wrap(items: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(items, desc=description, total=total, unit=unit, mininterval=1)

    return wrap
