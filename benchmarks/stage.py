"""Stages of this checkout run in another folder, for their time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def prepare(folder: Path) -> None:
    """What stages want to find beside params.yaml."""
    (folder / "exclude.txt").write_text("", "utf-8")
    (folder / "stages").symlink_to(ROOT / "stages")  # digested by the first stage


def run(stage: str, workload: str, folder: Path) -> tuple[float, int]:
    """Seconds of a stage, and the peak bytes of it or of a process that it waited for."""
    command = [sys.executable, str(ROOT / "stages" / f"{stage}.py")]
    start = time.perf_counter()
    done = subprocess.Popen([*command, *([] if stage == "check" else [workload])], cwd=folder)
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    if done.returncode:
        raise SystemExit(f"{stage}: exit status {done.returncode}")
    return time.perf_counter() - start, 1024 * usage.ru_maxrss
