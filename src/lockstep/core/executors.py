"""Where the work of `core.processes` runs: processes of this machine, or workers of Dask.

`LOCKSTEP_EXECUTOR=dask:tcp://HOST:PORT` names the scheduler of a Dask cluster. Its workers are
started in this project's environment, one thread each, and see the project's folder at the same
path. Where the work runs decides no result.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import cv2

import lockstep
from lockstep.core import paths
from lockstep.core.errors import LockstepError, reason

ADDRESS = "LOCKSTEP_EXECUTOR"
_DASK = "dask:"
_PATIENCE = 60  # seconds for the scheduler to answer, and for a first worker to be there
# Items under way, by worker: one at work, others at hand.
_AHEAD = 3
# What decides the bytes of images that are read, found, drawn or written.
_PACKAGES = ("numpy", "pillow", "opencv-python", "dlib-bin", "torch")


@dataclass(frozen=True)
class Workers:
    """What takes the work, and how many items it is to have at once."""

    submit: Callable[..., Future[Any]]
    at_once: int


@contextmanager
def opened(processes: int) -> Iterator[Workers | None]:
    """The workers for the time of a block; None: this process is to do the work itself.

    Raises `LockstepError` if the scheduler cannot be reached, has no worker, or a worker is
    another project's or dies over and over; or if a process of this machine dies.
    """
    given = os.environ.get(ADDRESS)
    if given:
        with _dask(given) as workers:
            yield workers
    elif processes == 1:
        yield None
    else:
        with _local(processes) as workers:
            yield workers


def pool(processes: int) -> ProcessPoolExecutor:
    """Processes that end with this one, even if it is killed and cannot say so.

    Raises `LockstepError` if the machine has no room for what they share.
    """
    # "spawn": a forked child of a process that has used threads may hang.
    context = multiprocessing.get_context("spawn")
    try:
        return ProcessPoolExecutor(processes, context, initializer=_start)
    except OSError as error:  # of their semaphores, which are files of 32 bytes on Linux
        raise LockstepError(
            f"no semaphores for {processes} processes ({error}); free some room in /dev/shm, and "
            "allow files of 32 bytes there"
        ) from None


@contextmanager
def _local(processes: int) -> Iterator[Workers]:
    workers = pool(processes)
    try:
        yield Workers(workers.submit, _AHEAD * processes)
    except BrokenProcessPool:
        raise LockstepError(
            "a process that works on images died, perhaps for lack of memory; run again"
        ) from None
    finally:
        workers.shutdown(cancel_futures=True)


@contextmanager
def _dask(given: str) -> Iterator[Workers]:
    if not given.startswith(_DASK):
        raise LockstepError(f"{ADDRESS}: {given!r}; give dask:tcp://HOST:PORT, or unset it")
    address = given.removeprefix(_DASK)
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise LockstepError(
            f"{ADDRESS}: wants Dask, which is not installed: `make dask`, or unset it"
        ) from None
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LockstepError(f"{ADDRESS}: {address} does not answer ({reason(error)})") from None
    with client, tempfile.NamedTemporaryFile(dir=_shared()) as mark:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise LockstepError(
                f"{ADDRESS}: {address} has no workers; start some: `dask worker {address} "
                "--nthreads 1` in this project's environment"
            ) from None
        place = _Place(str(Path.cwd()), mark.name, _versions())
        executor = client.get_executor(pure=False)
        # One that was waited for may be gone again: then the work waits for the next.
        count = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        try:
            with warnings.catch_warnings():
                # Images on their way are large; a scheduler that holds them is what is wanted.
                warnings.filterwarnings("ignore", "Sending large graph")
                yield Workers(place.submit_to(executor), _AHEAD * count)
        except KilledWorker as error:
            raise LockstepError(
                f"{ADDRESS}: workers died over the same item ({error.last_worker.address} at "
                "last), perhaps for lack of memory; run again"
            ) from None
        except CancelledError:
            raise LockstepError(f"{ADDRESS}: {address} was lost; run again") from None
        finally:
            executor.shutdown(wait=False)


@dataclass(frozen=True)
class _Place:
    """The project as the process that hands out work has it: what each worker must have too."""

    folder: str
    mark: str
    versions: tuple[tuple[str, str], ...]

    def submit_to(self, executor: Executor) -> Callable[..., Future[Any]]:
        return lambda work, item: executor.submit(self.do, work, item)

    def do(self, work: Callable[[Any], Any], item: Any) -> Any:
        """The work, in a worker, once it is known to be one of this project's."""
        _check(self)
        return work(item)


@cache
def _check(place: _Place) -> None:
    """Raises `LockstepError` if this worker is not as `place` says, and goes to its folder."""
    from distributed import get_worker

    worker = get_worker()
    name = f"{ADDRESS}: the worker {worker.address}"
    if worker.state.nthreads != 1:
        raise LockstepError(
            f"{name} has {worker.state.nthreads} threads; start it with `--nthreads 1`, and more "
            "of them with `--nworkers`"
        )
    if not Path(place.mark).exists():
        raise LockstepError(
            f"{name} does not see {place.folder}; give all machines the project's folder at the "
            "same path"
        )
    for (what, ours), (_, theirs) in zip(place.versions, _versions(), strict=True):
        if ours != theirs:
            raise LockstepError(
                f"{name} has {what} {theirs}, this process {ours}; start it in this project's "
                "environment"
            )
    cv2.setNumThreads(1)
    os.chdir(place.folder)


def _shared() -> Path:
    folder = paths.scratch()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Of Lockstep's code, and of the packages that decide what becomes of an image."""
    root = Path(lockstep.__file__).parent
    code = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        code.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    found = {"the code": code.hexdigest()[:12]}
    for name in _PACKAGES:
        found[name] = "none"
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return tuple(found.items())


def _start() -> None:
    """One core for this process; and a watch on its parent."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
