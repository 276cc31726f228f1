"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cores_for_auto(threads: object) -> object:
    """The value of `threads`, `auto` as the number that it stands for here."""
    return available_cores() if threads == "auto" else threads


def available_cores(system: Path = Path("/")) -> int:
    """Physical cores of the process's affinity, at most its control groups' quota; 1 or more.

    Two hardware threads of one core count once: they share the units that multiply. `system` is
    the root of the file system that says so. Where it does not (not Linux), all hardware threads
    count.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = {_siblings(system, cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, int(min(len(cores), _quota(system))))


def _siblings(system: Path, cpu: int) -> str:
    """The hardware threads of the core that `cpu` is one of, as the kernel writes them."""
    path = system / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    return path.read_text().strip() if path.is_file() else str(cpu)


def _quota(system: Path) -> float:
    """The least number of processors that a control group of this process grants."""
    groups = system / "proc/self/cgroup"
    least = math.inf
    for line in groups.read_text().splitlines() if groups.is_file() else []:
        number, controllers, name = line.split(":", 2)
        if number == "0":  # version 2, where every group above counts too
            folder = system / "sys/fs/cgroup" / name.lstrip("/")
            for group in (folder, *folder.parents[: len(Path(name).parts) - 1]):
                least = min(least, _ratio(group / "cpu.max"))
        elif "cpu" in controllers.split(","):
            folder = system / "sys/fs/cgroup/cpu" / name.lstrip("/")
            least = min(least, _ratio(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
    return least


def _ratio(*files: Path) -> float:
    """Quota over period, from one file or from two; infinite without a limit."""
    if not all(path.is_file() for path in files):
        return math.inf
    quota, period = " ".join(path.read_text() for path in files).split()
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)
