"""`lockstep compare`, on repositories with metrics of known differences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import write_json
from lockstep.report.compare import compare, lines

BEFORE = {
    "accuracy_test": 0.5,
    "accuracy_test_sd": 0.01,
    "accuracy_test_se": 0.03,
    "fd_classifier": 330.0,
    "fd_classifier_se": 4.0,
    "authenticity_classifier": 0.9,
    "authenticity_classifier_se": 0.01,
    "precision_classifier": 0.8,
    "precision_classifier_se": 0.03,
    "swd": 100.0,
    "n_generated": 192,
}
# The error of a difference of two errors of 0.03 and 0.04 is 0.05.
AFTER = {
    **BEFORE,
    "accuracy_test": 0.599,
    "accuracy_test_sd": 0.5,
    "accuracy_test_se": 0.04,
    "fd_classifier": 316.0,
    "authenticity_classifier": 0.7,
    "precision_classifier": 0.65,
    "swd": 90.0,
}


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(**of_workloads: dict[str, float]) -> str:
    for workload, metrics in of_workloads.items():
        write_json(paths.metrics(workload, "evaluate"), metrics)
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", "metrics")
    return git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    return tmp_path


def verdicts(one: str, other: str | None = None) -> dict[str, str]:
    return {found.name: found.verdict for found in compare(one, other)}


def test_what_is_larger_than_twice_its_error() -> None:
    commit(pets=BEFORE)
    commit(pets=AFTER)
    assert verdicts("HEAD~1", "HEAD") == {
        "accuracy_test": "within its error",  # 0.099 and 0.05
        "fd_classifier": "better",  # less is
        "authenticity_classifier": "differs",
        "precision_classifier": "worse",
        "swd": "error unknown",
    }
    assert verdicts("HEAD", "HEAD~1")["fd_classifier"] == "worse"
    assert verdicts("HEAD", "HEAD") == {}
    write_json(paths.metrics("pets", "evaluate"), {**AFTER, "accuracy_test": 0.601})
    assert verdicts("HEAD~1")["accuracy_test"] == "better"
    assert "n_generated" not in verdicts("HEAD~1")


def test_an_experiment_by_its_name() -> None:
    """Where DVC keeps one: a commit that no branch has."""
    first = commit(pets=BEFORE)
    experiment = commit(pets=AFTER)
    git("reset", "--quiet", "--hard", first)
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/tired-mink", experiment)
    assert verdicts("HEAD", "tired-mink")["fd_classifier"] == "better"
    git("update-ref", f"refs/exps/{experiment[:2]}/{experiment[2:]}/tired-mink", first)
    with pytest.raises(LockstepError, match="tired-mink: no commit, and no experiment, or several"):
        compare("HEAD", "tired-mink")


def test_what_is_printed() -> None:
    commit(pets=BEFORE, cars=BEFORE)
    write_json(paths.metrics("pets", "evaluate"), AFTER)
    write_json(paths.metrics("cars", "evaluate"), {**BEFORE, "n_generated": 64})
    done = subprocess.run(
        [sys.executable, "-m", "lockstep.cli", "compare", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "pets  fd_classifier            330.0   316.0   −14.0 ± 5.7       better",
        "pets  authenticity_classifier  0.9000  0.7000  −0.2000 ± 0.0141  differs",
        "pets  precision_classifier     0.8000  0.6500  −0.1500 ± 0.0424  worse",
        "3 of 4 differences are larger than twice their error (by chance 1 in 20 would be); "
        "2 more have no error",
        "cars: n_generated is 192 and 64: distances of other numbers of images do not compare",
    ]
    found = compare("HEAD", None, "pets")
    (swd,) = (line for line in lines(found, everything=True) if " swd " in line)
    assert swd.split() == ["pets", "swd", "100.0", "90.0", "−10.00", "error", "unknown"]
    assert list(lines(found[:0])) == [
        "0 of 0 differences are larger than twice their error (by chance 1 in 20 would be); "
        "0 more have no error"
    ]


def test_what_is_not_there() -> None:
    commit()
    for name in ("nothing", "--all", "HEAD:metrics"):
        with pytest.raises(LockstepError, match=f"{name}: no commit, and no experiment"):
            compare(name, None)
    with pytest.raises(LockstepError, match="HEAD: has no metrics; `dvc repro` makes them"):
        compare("HEAD", None)
    commit(pets=BEFORE)
    with pytest.raises(LockstepError, match="HEAD: has no metrics of cars"):
        compare("HEAD", None, "cars")
