"""What is read from dvc.lock."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lockstep.core.errors import LockstepError
from lockstep.tracking import dvc_lock
from tiny import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(drawn: str, evaluator: str) -> None:
    """A lock in which evaluate@faces has read samples `a` and evaluator `j`."""
    read = [
        {"path": "stages/evaluate.py", "hash": "md5", "md5": "s"},
        {"path": "samples/faces", "hash": "md5", "md5": "a"},
        {"path": "evaluators/faces", "hash": "md5", "md5": "j"},
    ]
    stages = {
        "sample@faces": {"outs": [{"path": "samples/faces", "md5": drawn}]},
        "evaluator@faces": {"outs": [{"path": "evaluators/faces", "md5": evaluator}]},
        "evaluate@faces": {"deps": read},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def test_what_was_made_anew_since_a_stage_ran() -> None:
    write("a", "j")
    assert dvc_lock.load().outdated("evaluate@faces") == []
    write("b", "j")
    assert dvc_lock.load().outdated("evaluate@faces") == ["samples/faces"]
    write("b", "k")
    lock = dvc_lock.load()
    assert lock.outdated("evaluate@faces") == ["evaluators/faces", "samples/faces"]
    assert lock.made["samples/faces"] == "b"
    assert lock.outdated("evaluate@anime") == []  # never ran


def test_a_change_further_up_counts_too() -> None:
    def entry(path: str, md5: str) -> dict[str, str]:
        return {"path": path, "md5": md5}

    stages = {
        "train@faces": {"outs": [entry("models/faces", "new")]},
        "sample@faces": {
            "deps": [entry("models/faces", "old")],
            "outs": [entry("samples/faces", "a")],
        },
        "evaluate@faces": {"deps": [entry("samples/faces", "a")]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    lock = dvc_lock.load()
    assert lock.outdated("evaluate@faces") == lock.outdated("sample@faces") == ["models/faces"]
    assert lock.outdated("train@faces") == []


def test_where_nothing_has_run_nothing_is_known() -> None:
    lock = dvc_lock.load()
    assert lock.made == {} and lock.outdated("evaluate@faces") == []


@pytest.mark.parametrize("content", ["<<<<<<< HEAD\nstages: {}\n", "", "stages: [1]\n", "a: b\n"])
def test_a_damaged_lock_is_named(content: str) -> None:
    Path("dvc.lock").write_text(content)
    with pytest.raises(LockstepError, match=r"^dvc\.lock: damaged .*`git checkout HEAD dvc\.lock`"):
        dvc_lock.load()


@pytest.mark.skipif(not (ROOT / "dvc.lock").exists(), reason="no results are committed")
def test_the_committed_one_is_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lock = dvc_lock.load()
    assert len(lock.read) > 30
    assert {stage: found for stage in lock.read if (found := lock.outdated(stage))} == {}
