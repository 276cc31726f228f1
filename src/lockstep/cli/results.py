"""Commands that tell what there is."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from lockstep.cli.places import check_place
from lockstep.core import paths
from lockstep.core.errors import LockstepError, Several


def report(arguments: argparse.Namespace) -> None:
    """Run `lockstep report`."""
    from lockstep.report import page

    out = arguments.out or Path("report") / f"{arguments.workload}.html"
    check_place(out)
    page.write(arguments.workload, out)
    print(out)


def compare(arguments: argparse.Namespace) -> None:
    """Run `lockstep compare`."""
    from lockstep.report.compare import compare, lines

    found = compare(arguments.one, arguments.other, arguments.workload)
    print(*lines(found, arguments.all), sep="\n")


def links(arguments: argparse.Namespace) -> None:
    """Run `lockstep links`."""
    from lockstep.config.load import load_params
    from lockstep.config.sources import Ptt
    from lockstep.core.files import atomic_file
    from lockstep.sources.ptt.export import FORMATS, read_links

    workload, write = arguments.workload, FORMATS[arguments.format]
    if not isinstance(load_params(workload).source, Ptt):
        raise LockstepError(f"{workload}: its source is no web board, so that there are no links")
    links = read_links(paths.crawled(workload), arguments.start, arguments.end)
    if arguments.out is None:
        lines = io.StringIO()
        write(links, lines)  # all of it first: an error leaves no half of a list
        sys.stdout.buffer.write(lines.getvalue().encode())
        return
    check_place(arguments.out)
    with atomic_file(arguments.out) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        write(links, file)
    print(arguments.out)


def track(_: argparse.Namespace) -> None:
    """Run `lockstep track`."""
    from lockstep.config.document import read_yaml, workload_names
    from lockstep.tracking import dvc_lock
    from lockstep.tracking.record import record, record_sweep
    from lockstep.tracking.store import UnopenedError

    lock = dvc_lock.load()
    failed: list[str] = []
    for workload in workload_names(read_yaml(paths.PARAMS)):
        parts = (
            ("evaluation", f"evaluate@{workload}", paths.samples(workload), record),
            ("sweep", f"sweep@{workload}", paths.tables(workload, "sweep"), record_sweep),
        )
        found = [(name, target, write) for name, target, made, write in parts if made.exists()]
        if not found:
            print(f"{workload}: nothing to record; `dvc repro evaluate@{workload}` makes it")
        for name, target, write in found:
            try:
                if anew := lock.outdated(target):
                    raise LockstepError(
                        f"{', '.join(anew)} was made anew since the {name}; `dvc repro {target}`"
                    )
                write(workload)
                print(f"{workload}: {name} in MLflow")
            except UnopenedError as error:  # each further one would wait for it too
                raise Several(*failed, str(error)) from None
            except LockstepError as error:
                failed.append(f"{workload}: {error}")
    if failed:
        raise Several(*failed)
