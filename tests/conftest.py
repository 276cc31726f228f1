"""Finished smoke pipelines, made with real `dvc repro`, and how tests share the processor."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import yaml
from filelock import FileLock

# Tests run side by side: a thread that waits for work must not keep another process's core busy.
# Read when torch is imported, and by the processes that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# How long an example takes says how busy the processor is. The examples are the same in each run,
# so that a change does not fail for what it has not touched; `make fuzz` draws others.
hypothesis.settings.register_profile("lockstep", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("lockstep")

pytest_plugins = ("drill_table",)

# Minutes each: they are begun first.
LONG = (
    "test_pipeline",
    "test_captions_pipeline",
    "test_experiments",
    "test_new_workloads",
    "test_anime_pipeline",
    "test_distributed",
    "test_faces_pipeline",
    "test_text_training",
    "test_presets",
    "test_newcomer",
)
# Of a finished pipeline, what is written once and then only replaced: a copy shares it.
LINKED = (
    *(".dvc/cache", ".git/objects", "autoencoders", "data", "evaluators", "models"),
    *("noisy_classifiers", "samples"),
)

REPOSITORY = Path(__file__).resolve().parent.parent
OURS = ("DVC_", "MLFLOW_", "GIT_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: each is one process's work, so that its tests share fixtures."""

    def rank(item: pytest.Item) -> int:
        return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)

    items.sort(key=rank)  # stable


@dataclass(frozen=True)
class Project:
    """A checkout of the project in a folder of its own."""

    root: Path

    def environment(self) -> dict[str, str]:
        """With this interpreter's environment first in the path."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        environment["PYTHONPATH"] = str(self.root / "src")
        environment["DVC_SITE_CACHE_DIR"] = str(self.root.parent / "dvc-site-cache")
        return environment

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            text=True,
            capture_output=True,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *arguments, check=check)

    def lockstep(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "lockstep.cli", *arguments, check=check)

    def set(self, **values: str) -> None:
        """Replace lines `name: ...` in params.yaml by the text given; each must stand once."""
        path = self.root / "params.yaml"
        lines = path.read_text("utf-8").splitlines()
        for name, value in values.items():
            found = [i for i, line in enumerate(lines) if line.strip().startswith(f"{name}:")]
            assert len(found) == 1, f"{name} stands {len(found)} times in params.yaml"
            indent = lines[found[0]][: -len(lines[found[0]].lstrip())]
            lines[found[0]] = f"{indent}{name}: {value}"
        path.write_text("\n".join(lines) + "\n", "utf-8")

    def metrics(self, workload: str, stage: str) -> dict[str, float]:
        """What a stage measured."""
        return json.loads((self.root / f"metrics/{workload}/{stage}.json").read_text("utf-8"))

    def exclude(self, *entries: str) -> None:
        """Write lines at the end of exclude.txt."""
        with (self.root / "exclude.txt").open("a", encoding="utf-8") as file:
            file.writelines(f"{entry}\n" for entry in entries)


def checkout(root: Path) -> Project:
    """What git would give a stranger: the tracked files, in a repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if source.is_file() and not name.startswith(("docs/", "tests/", "benchmarks/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, root / name)
    project = Project(root)
    project.run("git", "init", "--quiet")
    project.run("git", "config", "user.name", "tester")
    project.run("git", "config", "user.email", "tester@example.com")
    return project


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", message)


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` or `dvc exp run` really ran, in order."""
    return re.findall(r"Running stage '([^']+)'", output)


def runs(project: Project, kind: str, workload: str = "iclevr") -> list:
    """MLflow's runs of a kind."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(workload)
    if experiment is None:
        return []
    return client.search_runs([experiment.experiment_id], f"tags.`lockstep.kind` = '{kind}'")


def finish(root: Path, workload: str, threads: int = 1, *more: str) -> Project:
    """Run what the smoke preset has of a workload, in a checkout at `root`.

    The committed dvc.lock stays: as in any clone it speaks of other workloads, whose outputs were
    never made here. `more` are further targets.
    """
    from lockstep.config import presets
    from lockstep.config.load import read_yaml

    project = checkout(root)
    path = project.root / "params.yaml"
    preset = presets.load("smoke", project.root / "presets").only(workload)
    overlay = {**preset.over(read_yaml(path)), "threads": threads}
    overlay["sweep"] = {**overlay["sweep"], "settings": [{"weights": "last", "steps": 3}]}
    path.write_text(yaml.safe_dump(overlay, sort_keys=False), "utf-8")
    commit(project, "smoke")
    project.dvc("repro", f"evaluate@{workload}", *more)
    commit(project, "results")
    return project


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables: making them takes a second. Copy it."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """The i-CLEVR pipeline on its smoke preset. Shared: do not change it, take `project`."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # of all processes: the first one makes it
    root, done = folder / "finished/project", folder / "finished/done"
    with FileLock(folder / "finished.lock"):
        if not done.exists():
            finish(root, "iclevr", 2, "sweep@iclevr")  # some tests compare bytes
            done.touch()
    return Project(root)


@pytest.fixture
def port() -> int:
    """A free one of 127.0.0.1."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished pipeline to do anything to."""
    return copied(finished, tmp_path / "project")


def copied(project: Project, root: Path) -> Project:
    """A copy at `root`, without MLflow's store; what no command writes into is a hard link."""

    def copy_or_link(source: str, target: str) -> str:
        name = Path(source).relative_to(project.root).as_posix()
        if any(name.startswith(f"{linked}/") for linked in LINKED):
            os.link(source, target)
            return target
        return shutil.copy2(source, target)

    # The store knows the absolute place of its files.
    shutil.copytree(
        project.root,
        root,
        symlinks=True,
        copy_function=copy_or_link,
        ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"),
    )
    return Project(root)
