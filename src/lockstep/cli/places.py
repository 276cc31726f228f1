"""Files and folders outside the pipeline: what is fetched, left over, or to be written."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from lockstep.core import paths
from lockstep.core.errors import LockstepError


def fetch(arguments: argparse.Namespace) -> None:
    """Run `lockstep fetch`."""
    from tqdm import tqdm

    from lockstep.core import download

    path = download.cached(arguments.name)
    with tqdm(unit="B", unit_scale=True, desc=arguments.name, mininterval=1) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        download.fetch(download.FILES[arguments.name], path, show)
    print(path)


def clean(arguments: argparse.Namespace) -> None:
    """Run `lockstep clean`."""
    from lockstep.core.lock import is_held

    found = [path for path in sorted(paths.scratch().glob("*/*")) if path.is_dir()]
    for path in found:
        size = sum(map(_size, path.rglob("*")))
        running = is_held(path.with_name(f"{path.name}.lock"))
        print(f"{path}  {size / 2**20:.0f} MiB{'  running' if running else ''}")
        if arguments.force and not running:
            shutil.rmtree(path, ignore_errors=True)
    if not found:
        print("nothing is left")


def _size(path: Path) -> int:
    """Of a file, in bytes; 0 where a running stage has just taken it away."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def check_place(out: Path) -> None:
    """Whether a file can be there, before any work is done for it."""
    try:
        if out.is_dir():
            raise LockstepError(f"{out}: is a folder; name a file in it")
        above = next(path for path in out.absolute().parents if path.exists())
    except OSError as error:  # such as a name that is too long
        raise LockstepError(f"{out}: {error.strerror}; name another file") from None
    if not above.is_dir():
        raise LockstepError(f"{above}: is a file, so that {out} cannot be; name another folder")
