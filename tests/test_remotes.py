"""Results that travel by DVC's remotes, as those who make them and those who use them see it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from away import KINDS, Away
from conftest import Project, ran
from lockstep.core import hashing

pytestmark = pytest.mark.pipeline

TARGETS = ("evaluate@iclevr", "sweep@iclevr")
MODEL = "models/iclevr"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but the tests' own, and nobody asked for any."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


def clone(project: Project, root: Path) -> Project:
    """What `git clone` gives somebody else."""
    root.parent.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(project.root), str(root)], check=True)
    return Project(root)


def share(project: Project, away: Away, *targets: str) -> None:
    away.add_to(project)
    away.sign_in(project)
    project.dvc("push", *targets)


def make(project: Project, target: str) -> subprocess.CompletedProcess[str]:
    """By the Makefile, in this environment instead of one of the project's own."""
    return project.run(
        "make", "LOCKSTEP_ENV=.venv", "--old-file=.venv/bin/.complete", target, check=False
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_samples_at_once_and_runs_nothing(
    kind: str, project: Project, tmp_path: Path
) -> None:
    with KINDS[kind](tmp_path) as away:
        share(project, away, "--with-deps", *TARGETS)
        other = clone(project, tmp_path / "elsewhere/project")
        away.sign_in(other)

        other.dvc("pull", MODEL, "noisy_classifiers/iclevr")
        assert not [
            name for name in ("data", "evaluators", "samples") if (other.root / name).exists()
        ]
        assert hashing.sha256(other.root / MODEL) == hashing.sha256(project.root / MODEL)
        out = tmp_path / "cube.png"
        other.lockstep("sample", "iclevr", "red cube", "--count", "1", "--out", str(out))
        with Image.open(out) as image:
            assert image.size == (64, 64)

        other.dvc("pull", "--with-deps", *TARGETS)
        assert ran(other.dvc("repro", *TARGETS).stdout) == []
        assert other.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "said"),
    [("ssh", "Permission denied"), ("s3", "Unable to locate credentials")],
)
def test_without_credentials_it_is_one_line_and_nothing_is_lost(
    kind: str, said: str, project: Project, tmp_path: Path
) -> None:
    with KINDS[kind](tmp_path) as away:
        away.add_to(project)
        before = hashing.sha256(project.root / "models")
        for command in (("push", MODEL), ("pull", "--allow-missing", MODEL)):
            done = project.dvc(*command, check=False)
            assert done.returncode != 0
            assert said in done.stderr.splitlines()[0]
            assert "Traceback" not in done.stderr
        assert hashing.sha256(project.root / "models") == before
        assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.long
def test_make_push_and_make_pull(project: Project, tmp_path: Path) -> None:
    for target in ("push", "pull"):
        done = make(project, target)
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == (
            "error: no default remote; `dvc remote add --default NAME ADDRESS`, see docs/sharing.md"
        )
    with KINDS["folder"](tmp_path) as away:
        away.add_to(project)
        pushed = make(project, "push")
        other = clone(project, tmp_path / "elsewhere/project")
        pulled = make(other, "pull")
    assert pushed.returncode == 0, pushed.stderr
    assert pulled.returncode == 0, pulled.stderr
    # dvc.lock names the other workloads' results too, which nobody has here.
    missing = pulled.stdout.partition("Not in cache:")[2].partition("DVC uncommitted")[0].split()
    assert "models/faces/" in missing and f"{MODEL}/" not in missing


def test_a_model_comes_out_into_any_folder(project: Project, tmp_path: Path) -> None:
    with KINDS["folder"](tmp_path) as away:
        share(project, away, MODEL)
    project.run("git", "tag", "--annotate", "--message", "first", "iclevr@v1.0.0")
    model = hashing.sha256(project.root / MODEL)
    for name in ("models", ".dvc/cache"):  # nothing of it is read here
        shutil.rmtree(project.root / name)
    outside = Project(tmp_path / "outside")
    outside.root.mkdir()
    repository = str(project.root)
    outside.dvc("get", repository, MODEL, "--out", "got")
    outside.dvc("artifacts", "get", repository, "iclevr", "--rev", "v1.0.0", "--out", "registered")
    for name in ("got", "registered"):
        assert hashing.sha256(outside.root / name) == model


@pytest.mark.long
def test_an_experiment_is_run_elsewhere_and_taken_over(project: Project, tmp_path: Path) -> None:
    """The walk of docs/experiments.md, with two machines besides the first."""
    origin = tmp_path / "origin.git"
    with KINDS["folder"](tmp_path) as away:
        share(project, away, "--with-deps", *TARGETS)
        project.run("git", "clone", "--quiet", "--bare", str(project.root), str(origin))
        project.run("git", "remote", "add", "origin", str(origin))
        worker, third = (
            clone(Project(origin), tmp_path / name / "project") for name in ("worker", "third")
        )
        for one in (worker, third):
            one.run("git", "config", "user.name", "tester")
            one.run("git", "config", "user.email", "tester@example.com")

        worker.dvc("pull", "--with-deps", TARGETS[0])
        change = ("-S", "iclevr.sample.steps=2")
        done = worker.dvc("exp", "run", "--name", "few", *change, TARGETS[0])
        assert ran(done.stdout) == ["check", "sample@iclevr", "evaluate@iclevr"]
        worker.dvc("exp", "push", "origin", "few")

        assert "few" in project.dvc("exp", "list", "origin").stdout
        project.dvc("exp", "pull", "origin", "few")
        assert "few" in project.dvc("exp", "show", "--csv").stdout
        project.dvc("exp", "apply", "few", check=False)  # the other workloads are not there
        for place in ("samples/iclevr", "metrics/iclevr/evaluate.json"):
            assert hashing.sha256(project.root / place) == hashing.sha256(worker.root / place)
        assert ran(project.dvc("repro", TARGETS[0]).stdout) == []

        worker.dvc("push", "--run-cache", TARGETS[0])
        third.dvc("pull", "--run-cache", "--with-deps", TARGETS[0])
        (third.root / "params.yaml").write_bytes((worker.root / "params.yaml").read_bytes())
        again = third.dvc("repro", "--pull", TARGETS[0]).stdout
        assert "Stage 'sample@iclevr' is cached - skipping run" in again
        assert set(ran(again)) <= {"check", "evaluate@iclevr"}  # which writes metrics
