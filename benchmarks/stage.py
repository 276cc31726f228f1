"""Stages of this checkout run in another folder, for their time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent


def prepare(folder: Path) -> None:
    """What stages want to find beside params.yaml."""
    (folder / "exclude.txt").write_text("", "utf-8")
    (folder / "stages").symlink_to(ROOT / "stages")  # digested by the first stage


@dataclass(frozen=True)
class Cost:
    """What a stage takes: seconds, and the peak bytes of its largest process."""

    seconds: float
    resident: int
    """With the pages of mapped files, which the system takes back when it needs them."""
    own: int
    """Without those and shared memory, as seen five times a second."""


def run(stage: str, workload: str, folder: Path) -> Cost:
    """Run a stage to its end, and see what it takes."""
    command = [sys.executable, str(ROOT / "stages" / f"{stage}.py")]
    start = time.perf_counter()
    done = subprocess.Popen([*command, *([] if stage == "check" else [workload])], cwd=folder)
    own = 0
    while (ended := os.wait4(done.pid, os.WNOHANG))[0] == 0:
        own = max(own, *_own(psutil.Process(done.pid)))
        time.sleep(0.2)
    done.returncode = os.waitstatus_to_exitcode(ended[1])
    if done.returncode:
        raise SystemExit(f"{stage}: exit status {done.returncode}")
    return Cost(time.perf_counter() - start, 1024 * ended[2].ru_maxrss, own)


def _own(process: psutil.Process) -> Iterator[int]:
    """Bytes of it and of each of its children, those of files left out; 0 for one that is over."""
    yield 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            memory = each.memory_info()
            yield memory.rss - memory.shared
