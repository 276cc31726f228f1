"""Several processes as one: which one this is, its share, and what they tell each other.

Everything here also works in a single process, where it does nothing. Processes are started by
`torchrun`, or by `launch`, which is torchrun's own engine, on one machine or several (`nodes`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lockstep.core.errors import LockstepError
from lockstep.core.nodes import Nodes, limit
from lockstep.core.rank import is_first_here, node, rank, size, size_here
from lockstep.core.rank import is_main as is_main
from lockstep.core.rank import launched as launched

T = TypeVar("T")
# Nobody is given up for slow: whoever starts the processes ends them all when one dies.
_PATIENCE = timedelta(days=7)
# Seconds that the processes have to end in good order, a checkpoint written.
_TO_SAVE = 600
# Set for processes whose launcher says what became of them.
_SPEAKS = "LOCKSTEP_LAUNCHED"
# With which status they end when another process has ended before its time.
_LEFT_ALONE = 3
_ALONE = "another process of this job ended, so this one does too"
_GOES_ON = "the same command goes on from the last checkpoint"


def launch(processes: int, nodes: Nodes | None = None) -> None:
    """Run this very command in several processes, and wait for them.

    With `nodes`, each of these machines runs it and starts as many processes as it has been told;
    number 0 has the first of them.

    Raises `LockstepError` if one of them was killed or ended otherwise than by an error of its own,
    or the nodes do not meet; in case of an error, which it has said itself, `SystemExit`.
    """
    # Here: torch's launcher is slow to import, and a single process needs none of it.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # torch's account of it; this process does nothing else
    os.environ[_SPEAKS] = "1"
    count = 1 if nodes is None else nodes.count
    if nodes is not None and nodes.number > 0:
        nodes.reach()
    config = LaunchConfig(
        min_nodes=count,
        max_nodes=count,
        nproc_per_node=processes,
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=_TO_SAVE,
        **(_on_one() if nodes is None else _on_several(nodes)),
    )
    try:
        elastic_launch(config, sys.executable)(*sys.argv)
    except SignalException:
        sys.exit(1)  # handed on to the processes, which have said what they did
    except dist.DistError as error:
        if nodes is None:
            raise
        if "EADDRINUSE" in str(error):
            raise LockstepError(
                f"LOCKSTEP_RDZV: {nodes.endpoint} is in use; set another port on all nodes"
            ) from None
        raise nodes.not_met() from None
    except ChildFailedError as error:
        # Not those that were ended because of the first, nor those that lost sight of it.
        later = {1: 1, _LEFT_ALONE: 2, -signal.SIGTERM: 3}
        number, failure = min(
            error.failures.items(),
            key=lambda found: (later.get(found[1].exitcode, 0), found[1].timestamp),
        )
        if failure.exitcode == 1:
            sys.exit(1)
        if failure.exitcode == _LEFT_ALONE:
            raise LockstepError(f"{_ALONE}; {_GOES_ON}") from None
        how = (
            f"was killed by {signal.Signals(-failure.exitcode).name}"
            if failure.exitcode < 0
            else f"ended with status {failure.exitcode}"
        )
        where = "" if nodes is None else f" (node {nodes.number})"
        print(file=sys.stderr)  # the dead process may have left a line unfinished
        raise LockstepError(
            f"process {number} of {processes * count}{where} {how}, which ended the others; "
            f"{_GOES_ON}"
        ) from None


def _on_one() -> dict[str, Any]:
    return {
        "run_id": str(os.getpid()),
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "local_addr": "127.0.0.1",  # a machine need not know its own name
    }


def _on_several(nodes: Nodes) -> dict[str, Any]:
    """Static: the processes are numbered by node, so that the first ones are on number 0."""
    command = "\0".join([Path(sys.argv[0]).name, *sys.argv[1:]])  # the same on all of them
    return {
        "run_id": hashlib.sha256(command.encode()).hexdigest()[:16],
        "rdzv_backend": "static",
        "rdzv_endpoint": nodes.endpoint,
        "rdzv_configs": {"rank": nodes.number, "timeout": nodes.limit},
    }


@contextmanager
def group() -> Iterator[None]:
    """Connect the processes for the time of a block: gloo between CPUs, NCCL between GPUs.

    Raises `LockstepError` if there are fewer GPUs than processes; on the first process of each node
    also if another one ends on the way, which the others take in silence.
    """
    if torch.cuda.is_available():
        if size_here() > torch.cuda.device_count():
            raise LockstepError(
                f"{size_here()} processes, but {torch.cuda.device_count()} GPUs; lower the "
                "number of processes"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        _connect(backend)
        yield
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        if not is_first_here() or _SPEAKS in os.environ:
            sys.exit(_LEFT_ALONE)
        raise LockstepError(f"{_ALONE}; {_GOES_ON}") from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _is_loss(error: RuntimeError) -> bool:
    """Whether an error says that another process is gone, not that something failed in this one."""
    if isinstance(error, dist.DistNetworkError | dist.DistStoreError):
        return True
    return any(
        sign in str(error) for sign in ("by peer", "Broken pipe", "remote peer", "ncclRemoteError")
    )


def _connect(backend: str) -> None:
    """All processes, or an error after the limit: one may have died on its way here, elsewhere."""
    patience = timedelta(seconds=limit())
    store, number, count = next(dist.rendezvous("env://", timeout=patience))
    store.set(f"here/{number}", "")
    store.wait([f"here/{other}" for other in range(count)], patience)
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=_PATIENCE)


def end(error: LockstepError) -> NoReturn:
    """End with an error that all processes meet at once: the first of each node speaks for all.

    The others end as if nothing were wrong, so that nobody kills the first before it has spoken.
    """
    if is_first_here():
        raise error
    sys.exit(0)


def check_alike(values: Mapping[str, str]) -> None:
    """Whether all processes have the same values. Raises `LockstepError` that names one if not."""
    if size() == 1:
        return
    each: list[Any] = [None] * size()
    dist.all_gather_object(each, (node(), dict(values)))
    _, expected = each[0]
    for number, found in each:
        for name in sorted({*expected, *found}):
            if expected.get(name) != found.get(name):
                end(
                    LockstepError(
                        f"{name}: node {number} has another than node 0; give all nodes the same "
                        "checkout, data and environment"
                    )
                )


@contextmanager
def together() -> Iterator[None]:
    """What all processes do alike: where it fails for one, it fails for all, and is said once.

    Raises `LockstepError` on the first process of each node, if the block raised one on any.
    """
    failed: LockstepError | None = None
    try:
        yield
    except LockstepError as error:
        failed = error
    if size() == 1:
        if failed is not None:
            raise failed
        return
    said: list[str | None] = [None] * size()
    dist.all_gather_object(said, None if failed is None else str(failed))
    for number, message in enumerate(said):
        if message is not None:
            end(LockstepError(message if number == 0 else f"process {number}: {message}"))


def share(count: int, process: int | None = None) -> slice:
    """The part of `count` things that is a process's (this one's): contiguous, in rank order."""
    number = rank() if process is None else process
    return slice(count * number // size(), count * (number + 1) // size())


def gather(part: Tensor, count: int) -> Tensor:
    """The parts (share, ...) of all processes in rank order -> (count, ...), on every one."""
    if size() == 1:
        return part
    longest = -(-count // size())
    padded = part.new_zeros((longest, *part.shape[1:]))
    padded[: len(part)] = part
    parts = [torch.empty_like(padded) for _ in range(size())]
    dist.all_gather(parts, padded)
    shares = [share(count, process) for process in range(size())]
    return torch.cat([p[: s.stop - s.start] for p, s in zip(parts, shares, strict=True)])


def total(values: Tensor) -> Tensor:
    """The sum of each value over the processes, on every one."""
    if size() > 1:
        dist.all_reduce(values)
    return values


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; the same answer on every one."""
    return flag if size() == 1 else bool(total(torch.tensor(int(flag))))


def from_main(value: T | None) -> T:
    """What the first process gives, on every one; it must pickle."""
    box: list[Any] = [value]
    if size() > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]


def tensor_from_main(tensor: Tensor | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """The first process's tensor, on every one: of `shape`, with dtype and device of `like`."""
    here = like.new_empty(tuple(shape)) if tensor is None else tensor.to(like.device, like.dtype)
    if size() > 1:
        here = here.contiguous()
        dist.broadcast(here, src=0)
    return here


def wait() -> None:
    """Until all processes have come here."""
    if size() > 1:
        dist.barrier()
