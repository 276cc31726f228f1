"""A stage as a process of its own under conditions that its user did not choose."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from conftest import Project

WORKLOAD = "iclevr"
STAGES = (
    "check",
    "crawl",
    "download",
    "collect",
    "dataset",
    "evaluator",
    "autoencoder",
    "encode",
    "noisy_classifier",
    "train",
    "sample",
    "reference",
    "evaluate",
    "sweep",
)
# Root without the capabilities by which it may write everywhere.
_AS_ANYBODY = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)
# In a mount namespace of its own, with which the file system goes too.
ON_SMALL_DISK = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    'mount -t tmpfs -o size=16k tmpfs "$0" && exec "$@"',
)


@dataclass(frozen=True)
class Condition:
    """`environment` has None for a variable that is not set."""

    environment: Mapping[str, str | None] = field(default_factory=dict)
    largest_file: int | None = None  # bytes: RLIMIT_FSIZE, as a disk that is full
    umask: int | None = None
    as_anybody: bool = False  # not as root, who may write everywhere
    small_disk: Path | None = None  # a folder that is a file system of its own, of 16 KiB
    one_core: bool = False
    memory: int | None = None  # bytes: RLIMIT_DATA


_UNSET = {"HOME": None, "XDG_CACHE_HOME": None, "LANG": None}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
_SET = {
    "PYTHONSAFEPATH": "1",
    "OMP_NUM_THREADS": "1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "MLFLOW_RUN_ID": "0" * 32,
    "MLFLOW_EXPERIMENT_NAME": "another",
}
ODD = Condition({**_UNSET, **ASCII, **_SET}, umask=0o077)
"""No home, no UTF-8, a strict umask, and what others set for others, all of it at once."""


def run_stage(
    project: Project, stage: str, condition: Condition
) -> subprocess.CompletedProcess[str]:
    """As DVC runs it, with the root that DVC names."""
    if stage == "sweep":  # the rows of a run before would be taken for this one's
        shutil.rmtree(project.root / ".scratch/sweep", ignore_errors=True)
    environment = _environment(project)
    for name, value in condition.environment.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    command = [sys.executable, *_arguments(stage)]
    if condition.as_anybody and os.getuid() == 0:
        command = [*_AS_ANYBODY, *command]
    if condition.small_disk is not None:
        command = [*ON_SMALL_DISK, str(condition.small_disk), *command]

    def prepare() -> None:
        if condition.umask is not None:
            os.umask(condition.umask)
        if condition.largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (condition.largest_file,) * 2)
        if condition.memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (condition.memory,) * 2)
        if condition.one_core:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    return subprocess.run(
        command,
        cwd=project.root,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        preexec_fn=prepare,
    )


def _environment(project: Project) -> dict[str, str]:
    environment = {**project.environment(), "DVC_ROOT": str(project.root)}
    del environment["PYTHONPATH"]  # of a user's, nothing
    return environment


def _arguments(stage: str) -> list[str]:
    return [f"stages/{stage}.py", *([] if stage == "check" else [WORKLOAD])]


class Killed:
    """Runs a stage again and again without its imports, to be killed at any moment of its work."""

    def __init__(self, project: Project, stage: str, said: Path) -> None:
        self.said = said
        program = Path(__file__).with_name("forked.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), *_arguments(stage), str(said)],
            cwd=project.root,
            env=_environment(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Killed:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, seconds: float | None = None) -> int:
        """How it ended: 0, or minus the signal that it gets after so many seconds."""
        pid = self._ask()
        if seconds is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        return self._ask()

    def _ask(self) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def outputs(project: Project, stage: str) -> list[Path]:
    """All that dvc.yaml says a stage writes."""
    entry = yaml.safe_load((project.root / "dvc.yaml").read_text("utf-8"))["stages"][stage]
    entry = entry.get("do", entry)
    named = [each for kind in ("outs", "metrics", "plots") for each in entry.get(kind, ())]
    names = [each if isinstance(each, str) else next(iter(each)) for each in named]
    return [project.root / name.replace("${item}", WORKLOAD) for name in names]


def contents(paths: list[Path]) -> dict[str, str]:
    """The SHA-256 of each file at these paths and below, hidden ones included."""
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def beside(paths: list[Path]) -> set[Path]:
    """What else is in the folders that these lie in: nothing unfinished may stay there."""
    return {each for path in paths for each in path.parent.iterdir()}


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line in which a stage says why it ends."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert line.startswith("error: "), done.stderr
    return line


def make_no_difference(project: Project, stage: str, condition: Condition) -> None:
    """Run a stage that has run before: the same bytes, and nothing beside them."""
    places = outputs(project, stage)
    before, around = contents(places), beside(places)
    done = run_stage(project, stage, condition)
    assert done.returncode == 0, done.stderr
    assert contents(places) == before
    assert beside(places) == around


def needs(condition: Condition) -> None:
    """Skip a test whose condition cannot be made on this machine."""
    probe = ["true"]
    if condition.as_anybody and os.getuid() == 0:
        probe = [*_AS_ANYBODY, *probe]
    if condition.small_disk is not None:
        probe = [*ON_SMALL_DISK, str(condition.small_disk), *probe]
    try:
        subprocess.run(probe, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        what = "give up root's rights" if condition.small_disk is None else "mount a small disk"
        pytest.skip(f"this machine lets nobody {what}")
