"""The cores that a process may use, from a made-up system's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockstep.core.cpus import available_cores


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight hardware threads, two a core: 0 and 4, 1 and 5, ..."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for cpu in range(8):
        write(
            tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list",
            f"{cpu % 4},{cpu % 4 + 4}\n",
        )
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_threads_of_one_core_count_once(system: Path) -> None:
    assert available_cores(system) == 4


def test_only_cores_of_the_affinity_count(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})
    assert available_cores(system) == 2


@pytest.mark.parametrize(
    ("inner", "outer", "cores"),
    [
        ("max 100000", "max 100000", 4),
        ("250000 100000", "max 100000", 2),
        ("max 100000", "150000 100000", 1),
        ("50000 100000", "max 100000", 1),
        ("800000 100000", "800000 100000", 4),
    ],
)
def test_the_quota_of_any_group_above_counts(
    system: Path, inner: str, outer: str, cores: int
) -> None:
    write(system / "proc/self/cgroup", "0::/jobs/one\n")
    write(system / "sys/fs/cgroup/jobs/one/cpu.max", inner + "\n")
    write(system / "sys/fs/cgroup/jobs/cpu.max", outer + "\n")
    assert available_cores(system) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 4), ("300000", 3)])
def test_version_1_of_control_groups(system: Path, quota: str, cores: int) -> None:
    write(system / "proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/box\n1:name=systemd:/\n")
    write(system / "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", quota + "\n")
    write(system / "sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n")
    assert available_cores(system) == cores


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert available_cores(tmp_path) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores(tmp_path) == 1


def test_this_machine() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
