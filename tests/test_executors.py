"""Work by Dask: a real scheduler and workers, each a process of its own on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import squares
import test_merge
import test_photo_faces
from collecting import contents
from lockstep.core import executors
from lockstep.core.errors import LockstepError
from lockstep.core.processes import each, in_order
from lockstep.sources.folders.unpack import Source
from lockstep.synthetic import portraits
from odd_files import encoded, head

TESTS = Path(__file__).resolve().parent
SRC = TESTS.parent / "src"
ALONE = ("--nthreads", "1", "--no-nanny")  # nothing starts it again
NEEDS = "Dask is not installed: requirements-dask.lock"


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(map(str, (SRC, TESTS)))
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def worker(
    address: str, cwd: Path, *more: str, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    arguments = ("distributed.cli.dask_worker", address, "--no-dashboard", "--local-directory")
    process = start(*arguments, str(cwd), *(more or ("--nthreads", "1")), cwd=cwd, **environment)
    with ended(process):
        yield process


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of one without workers."""
    pytest.importorskip("distributed", reason=NEEDS)
    said = tmp_path / "scheduler.json"
    arguments = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    more = ("--no-dashboard", "--scheduler-file", str(said))
    with ended(
        start(*arguments, *more, cwd=tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="2")
    ):
        while not said.exists() or not said.read_text():
            time.sleep(0.05)
        yield json.loads(said.read_text())["address"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(executors, "_PATIENCE", 600)
    return root


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_two_workers_do_the_work_in_the_projects_folder(
    scheduler: str, project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")
    with worker(scheduler, elsewhere), worker(scheduler, elsewhere):
        assert list(in_order(squares.square, range(50), 1)) == [i * i for i in range(50)]
        assert {result for _, result in each(squares.where, range(9), 2)} == {str(project)}
        with pytest.raises(LockstepError, match=r"^3: not this one$"):
            list(each(squares.refuse, [3], 2))


def test_images_come_back_as_they_are(
    scheduler: str, project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenes rendered by workers, which write them into the project: the same bytes."""
    from lockstep.config.sources import Rendered
    from lockstep.sources.captions.rendered import render

    def drawn(name: str) -> dict[str, bytes]:
        out = project / name
        out.mkdir()
        render(
            Rendered("rendered", 400, size=16, seed=3, supersample=1),
            Path(name),
            1,
            lambda items, total: items,
        )
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.*")}

    here = drawn("here")
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")
    with worker(scheduler, elsewhere), worker(scheduler, elsewhere):
        assert drawn("there") == here
    assert np.asarray(Image.open(project / "there/images/scene_000000.png")).shape == (16, 16, 3)


@contextmanager
def killed(process: subprocess.Popen[str], scheduler: str) -> Iterator[None]:
    """As soon as there is something to do for two workers."""
    from distributed import Client

    over = threading.Event()

    def watch() -> None:
        with Client(scheduler) as client:
            while not over.wait(0.005):
                tasks = client.processing().values()
                if len(tasks) == 2 and any(tasks):
                    process.kill()
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert process.wait(60) == -signal.SIGKILL, "it never had anything to do"


def crop(out: Path) -> None:
    test_photo_faces.run(out, Path("photos"))


def merge(out: Path) -> None:
    test_merge.run([Source("heads", Path("heads"))], out, out.parent / f"{out.name}.db")


@pytest.mark.parametrize("collect", [crop, merge])
def test_faces_and_merged_folders_come_out_the_same_though_a_worker_is_killed(
    scheduler: str,
    project: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    collect: Callable[[Path], None],
) -> None:
    for folder, files in {"photos": photographs(), "heads": heads()}.items():
        (project / folder).mkdir()
        for number, data in enumerate(files):
            (project / folder / f"{number:03}.png").write_bytes(data)
    collect(project / "here")
    assert any((project / "here").rglob("*.png"))
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")
    with worker(scheduler, elsewhere), worker(scheduler, elsewhere, *ALONE) as victim:
        collect(project / "there")
        with killed(victim, scheduler):
            collect(project / "interrupted")
    here = contents(project / "here")
    for name in ("there", "interrupted"):
        assert contents(project / name) == here


def photographs() -> list[bytes]:
    """As they are on the replica of the board: all kinds of good and bad ones."""
    return [portraits.image(number).data for number in range(24)]


def heads() -> list[bytes]:
    """Sixty heads, each of them twice, and something broken."""
    some = [head(number, 256) for number in range(60)]
    return [encoded(image) for image in some * 2] + [b"no image"]


def test_the_only_worker_that_is_gone_as_soon_as_it_is_seen(
    scheduler: str, project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left undone: the work waits for the next one."""
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")
    from distributed import Client

    monkeypatch.setattr(Client, "scheduler_info", lambda self, n_workers: {"workers": {}})
    with worker(scheduler, elsewhere):
        assert list(in_order(squares.square, range(5), 1)) == [0, 1, 4, 9, 16]


def test_a_worker_that_is_killed_changes_nothing(
    scheduler: str, project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")
    work = partial(squares.killed_once, project / "mark")
    with worker(scheduler, elsewhere), worker(scheduler, elsewhere):
        assert list(in_order(work, range(30), 1)) == [i * i for i in range(30)]
    assert (project / "mark").exists()


def test_an_item_that_kills_them_all_is_one_line(
    scheduler: str, project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")
    with worker(scheduler, elsewhere), pytest.raises(LockstepError) as caught:
        list(each(squares.always_killed, [1], 1))
    assert "workers died over the same item" in str(caught.value)


def test_workers_of_another_project_are_refused(
    scheduler: str, project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(executors.ADDRESS, f"dask:{scheduler}")

    def said() -> str:
        with pytest.raises(LockstepError) as caught:
            list(each(squares.square, [1], 1))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    monkeypatch.setattr(executors, "_PATIENCE", 2)
    assert f"{scheduler} has no workers; start some" in said()
    monkeypatch.setattr(executors, "_PATIENCE", 600)
    with worker(scheduler, elsewhere, "--nthreads", "2"):
        assert "has 2 threads; start it with `--nthreads 1`" in said()
    other = elsewhere / "lockstep"
    subprocess.run(["cp", "-r", str(SRC / "lockstep"), str(other)], check=True)
    (other / "new.py").write_text("")
    changed = os.pathsep.join(map(str, (elsewhere, TESTS)))
    with worker(scheduler, elsewhere, PYTHONPATH=changed):
        assert "has the code" in said()
    with worker(scheduler, elsewhere, PYTHONPATH=str(TESTS)):
        assert "start it in this project's environment" in said()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:1", "LOCKSTEP_EXECUTOR: 'tcp://127.0.0.1:1'; give dask:tcp://HOST:PORT"),
        ("dask:tcp://127.0.0.1:1", "LOCKSTEP_EXECUTOR: tcp://127.0.0.1:1 does not answer"),
        ("dask:nonsense://x", "LOCKSTEP_EXECUTOR: nonsense://x does not answer"),
    ],
)
def test_a_scheduler_out_of_reach_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    pytest.importorskip("distributed", reason=NEEDS)
    monkeypatch.setattr(executors, "_PATIENCE", 1)
    monkeypatch.setenv(executors.ADDRESS, address)
    with pytest.raises(LockstepError) as caught:
        list(each(squares.square, [1], 1))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_without_dask_it_says_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(executors.ADDRESS, "dask:tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LockstepError, match=r"not installed: `make dask`, or unset it"):
        list(each(squares.square, [1], 1))


def test_no_room_for_semaphores_is_one_line() -> None:
    code = (
        "import resource, sys; from lockstep.core import executors, reports\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "sys.exit(reports.reported(lambda: executors.pool(2)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no semaphores for 2 processes (")
