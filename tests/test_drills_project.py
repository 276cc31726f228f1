"""Drills of git, DVC and MLflow's store, in checkouts where `check` has run and the rest has not.

Which stage runs is all one to these: `check` is the one that takes seconds.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project, checkout, commit, ran
from drills import contents
from tiny import ROOT

EXPERIMENT = ("exp", "run", "-S", "train.lr=0.002", "check")
TEMP = ("exp", "run", "--temp", "-S", "train.lr=0.002", "check")
AGAIN = ("repro", "--force", "--single-item", "check")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What the others are clones and copies of: do not change it."""
    project = checkout(tmp_path_factory.mktemp("whole") / "project")
    project.dvc("repro", "check")
    commit(project, "as it is")
    return project


@pytest.fixture
def made(whole: Project, tmp_path: Path) -> Project:
    """A copy to do anything to."""
    return Project(shutil.copytree(whole.root, tmp_path / "project", symlinks=True))


def result(project: Project) -> dict[str, str]:
    """What `check` leaves, its line of dvc.lock among it."""
    files = contents([project.root / "data/code", project.root / "dvc.lock"])
    return {str(Path(name).relative_to(project.root)): digest for name, digest in files.items()}


def is_as(project: Project, whole: Project) -> None:
    """A `repro` ends well, with the results of the other; `git` has nothing to say of it."""
    project.dvc("repro", "check")
    assert result(project) == result(whole)
    assert ran(project.dvc("repro", "check").stdout) == []


def errors(said: str) -> list[str]:
    """Lines of DVC or ours that say what went wrong."""
    assert "Traceback" not in said, said
    return [line for line in said.splitlines() if line.lower().startswith("error: ")]


# --- two at once


@pytest.mark.long
@pytest.mark.drill(
    "Two at once",
    "two `dvc repro`; two `dvc exp run --temp`; `exp run` beside `repro`",
    "each ends well or with one line about DVC's lock; the same `dvc.lock` afterwards",
)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (AGAIN, AGAIN),
        (TEMP, ("exp", "run", "--temp", "-S", "train.lr=0.003", "check")),
        (EXPERIMENT, AGAIN),
    ],
    ids=["repro", "temp", "exp"],
)
def test_two_at_once(
    made: Project, whole: Project, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    pair = [
        subprocess.Popen(
            ["dvc", *arguments],
            cwd=made.root,
            env=made.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (first, second)
    ]
    ended = []
    for process in pair:
        out, said = process.communicate()
        ended.append(process.returncode)
        if process.returncode != 0:
            (line,) = errors(out + said)
            assert "lock" in line or "busy" in line, line
    assert 0 in ended
    if first == TEMP:
        listed = made.dvc("exp", "list", "--name-only").stdout.split()
        assert len(listed) == ended.count(0)
    made.run("git", "checkout", "params.yaml", "dvc.lock")
    is_as(made, whole)
    assert made.run("git", "status", "--porcelain").stdout == ""


# --- what git can be like


def clone(whole: Project, root: Path, *options: str) -> Project:
    subprocess.run(["git", "clone", "--quiet", *options, str(whole.root), str(root)], check=True)
    return Project(root)


def repository(root: Path) -> Project:
    """Another one, with a commit."""
    root.mkdir()
    outer = Project(root)
    outer.run("git", "init", "--quiet")
    (root / "file").touch()
    identify(outer)
    commit(outer, "a file")
    return outer


def identify(project: Project) -> None:
    project.run("git", "config", "user.name", "tester")
    project.run("git", "config", "user.email", "tester@example.com")


def worktree(whole: Project, root: Path) -> Project:
    first = clone(whole, root / "first")
    first.run("git", "worktree", "add", "--quiet", "-b", "other", str(root / "project"))
    return Project(root / "project")


def detached(whole: Project, root: Path) -> Project:
    project = clone(whole, root / "project")
    project.run("git", "checkout", "--quiet", "--detach")
    return project


def inside(whole: Project, root: Path) -> Project:
    outer = repository(root / "outer")
    return clone(whole, outer.root / "project")


def submodule(whole: Project, root: Path) -> Project:
    outer = repository(root / "outer")
    add = ("submodule", "--quiet", "add", str(whole.root), "project")
    outer.run("git", "-c", "protocol.file.allow=always", *add)
    return Project(outer.root / "project")


def hooks(whole: Project, root: Path) -> Project:
    """Each of git's hooks fails."""
    project = clone(whole, root / "project")
    folder = root / "hooks"
    folder.mkdir()
    for name in ("pre-commit", "commit-msg", "pre-push", "post-checkout", "post-commit"):
        hook = folder / name
        hook.write_text("#!/bin/sh\necho refused >&2\nexit 1\n")
        hook.chmod(0o755)
    project.run("git", "config", "core.hooksPath", str(folder))
    return project


def stash(whole: Project, root: Path) -> Project:
    project = clone(whole, root / "project")
    identify(project)
    project.exclude("# not committed")
    project.run("git", "stash")
    return project


KINDS = (worktree, detached, inside, submodule, hooks, stash)


@pytest.mark.long
@pytest.mark.drill(
    "Git and DVC",
    "a worktree, a detached HEAD, a clone inside another repository, a submodule, hooks that "
    "fail, after `git stash`",
    "`dvc repro` gives the same `dvc.lock`; `dvc exp run` is recorded",
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_checkout_of_another_kind(
    whole: Project, tmp_path: Path, kind: Callable[[Project, Path], Project]
) -> None:
    project = kind(whole, tmp_path)
    identify(project)
    is_as(project, whole)
    assert project.run("git", "status", "--porcelain").stdout == ""
    project.dvc(*EXPERIMENT)
    assert len(project.dvc("exp", "list", "--name-only").stdout.split()) == 1
    project.run("git", "checkout", "params.yaml", "dvc.lock", check=kind is not hooks)
    is_as(project, whole)


@pytest.mark.long
@pytest.mark.drill(
    "Git and DVC",
    "no git at all, with and without `core.no_scm`",
    "with it `dvc repro` works; without it DVC says so in one line",
)
def test_without_git(made: Project, whole: Project) -> None:
    shutil.rmtree(made.root / ".git")
    done = made.dvc("repro", "check", check=False)
    assert done.returncode != 0
    (line,) = errors(done.stdout + done.stderr)
    assert "git" in line
    config = made.root / ".dvc/config"
    config.write_text(config.read_text().replace("[core]", "[core]\n    no_scm = true"))
    made.dvc(*AGAIN)
    is_as(made, whole)


# --- what file systems can be like


@pytest.mark.long
@pytest.mark.drill(
    "Disk and permissions",
    "a file system without hard links, nor reflinks",
    "DVC's cache copies; the same `dvc.lock`",
)
def test_a_file_system_without_links(made: Project, whole: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\ndef link(*_, **__): raise PermissionError(1, os.strerror(1))\nos.link = link\n"
    )
    made.dvc("config", "cache.type", "copy")
    environment = made.environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    shutil.rmtree(made.root / "data/code")
    for arguments in (("checkout", "check"), AGAIN):
        done = subprocess.run(
            ["dvc", *arguments], cwd=made.root, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert result(made) == result(whole)


@pytest.mark.long
@pytest.mark.drill(
    "Disk and permissions",
    "`data/` is a symbolic link to another disk",
    "DVC says in one line that it is outside of the repository; `dvc.lock` and the outputs stay",
)
def test_a_link_as_data(made: Project, whole: Project, tmp_path: Path) -> None:
    (made.root / "data").rename(tmp_path / "elsewhere")
    (made.root / "data").symlink_to(tmp_path / "elsewhere")
    done = made.dvc(*AGAIN, check=False)
    assert done.returncode != 0
    (line,) = errors(done.stdout + done.stderr)
    assert line.endswith(f"data/code' is outside of git repository '{made.root}'")
    assert result(made) == result(whole)
    (made.root / "data").unlink()
    (tmp_path / "elsewhere").rename(made.root / "data")
    is_as(made, whole)


@pytest.mark.long
@pytest.mark.drill(
    "Environment",
    "the clock was set back, or forward: files are from 2038 or 1980",
    "nothing runs again; a stage that does gives the same `dvc.lock`",
)
@pytest.mark.parametrize("when", [2**31, 315619200])
def test_times_of_another_clock(made: Project, whole: Project, when: int) -> None:
    for path in made.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (when, when))
    assert ran(made.dvc("repro", "check").stdout) == []
    made.dvc(*AGAIN)
    is_as(made, whole)


# --- MLflow's store

FOLLOWED = """
import os, sqlite3, sys, time
from lockstep.tracking.live import followed
params = {"model.channels": [8], "train.lr": 1, "train.steps": 1}
with followed("iclevr", "f" * 64, params) as live:
    live.log(1, {"loss": 0.5})
    if sys.argv[1:] == ["delete"]:
        until = time.monotonic() + 120
        store = sqlite3.connect("mlflow.db")
        while store.execute("SELECT count(*) FROM metrics").fetchone() == (0,):
            assert time.monotonic() < until
            time.sleep(0.1)
        os.unlink("mlflow.db")
    for step in range(2, 1000):
        live.log(step, {"loss": 0.5})
    print("went on")
"""
LATER = "`lockstep track` writes what is missing when it is done"


def follow(root: Path, *arguments: str, largest: int | None = None) -> str:
    """What a training that is followed says on stderr; it must go on to its end."""

    def prepare() -> None:
        if largest is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    ours = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWED, *arguments],
        cwd=root,
        env={**ours, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        preexec_fn=prepare,
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def is_put_off(said: str) -> None:
    """Nothing but that it is written later: while the training runs, at its end, or both."""
    assert 1 <= said.count(LATER) == len(said.splitlines()) <= 2, said


def rows(root: Path) -> int:
    """Of how many steps the store has the loss."""
    query = "SELECT count(DISTINCT step) FROM metrics WHERE key = 'loss'"
    with sqlite3.connect(root / "mlflow.db") as store:
        return int(store.execute(query).fetchone()[0])


@pytest.mark.long
@pytest.mark.drill(
    "MLflow", "the store is a newer MLflow's", "one line; the training goes on; the store stays"
)
def test_a_store_of_a_newer_mlflow(tmp_path: Path, empty_store: Path) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copyfile(empty_store, path)
    with sqlite3.connect(path) as store:
        store.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    store.close()
    before = path.read_bytes()
    said = follow(tmp_path)
    assert "MLflow at sqlite:///" in said
    is_put_off(said)
    assert path.read_bytes() == before


@pytest.mark.long
@pytest.mark.drill(
    "MLflow",
    "the store is deleted while a training runs",
    "the training goes on; the next one has a new store",
)
def test_a_store_that_is_deleted_while_it_is_written(tmp_path: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    said = follow(tmp_path, "delete")
    assert "attempt to write a readonly database" in said
    is_put_off(said)
    (tmp_path / "mlflow.db").unlink(missing_ok=True)
    assert follow(tmp_path) == ""
    assert rows(tmp_path) == 999


@pytest.mark.long
@pytest.mark.drill(
    "MLflow",
    "the disk of the store is full",
    "one line; the training goes on; all is written when there is room",
)
def test_a_store_on_a_full_disk(tmp_path: Path, empty_store: Path) -> None:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    said = follow(tmp_path, largest=empty_store.stat().st_size + 4096)
    assert "disk is full" in said or "disk I/O error" in said, said
    is_put_off(said)
    assert rows(tmp_path) < 999
    assert follow(tmp_path) == ""
    assert rows(tmp_path) == 999
