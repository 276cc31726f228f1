"""What the person at the keyboard sees when a stage fails."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

from lockstep.core.errors import LockstepError
from lockstep.stage import reported


def failing(error: Exception) -> object:
    def action() -> None:
        raise error

    return action


def test_an_error_for_a_person_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert reported(failing(LockstepError("train.lr: too high; lower it"))) == 1
    assert capsys.readouterr().err == "error: train.lr: too high; lower it\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_so_is_the_disks_refusal(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert reported(failing(OSError(number, "No room", "models/x"))) == 1
    assert capsys.readouterr().err == "error: models/x: No room\n"


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(FileNotFoundError):
        reported(failing(FileNotFoundError(errno.ENOENT, "No such file", "x")))
    with pytest.raises(ZeroDivisionError):
        reported(failing(ZeroDivisionError()))


def test_other_processes_say_who_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert reported(failing(LockstepError("data: gone"))) == 1
    assert capsys.readouterr().err == "error: process 3: data: gone\n"


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout whose params.yaml is not the committed one."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("DVC_ROOT", str(checkout))
    monkeypatch.setenv("DVC_EXP_NAME", "vocal-kiwi")
    Path("params.yaml").write_text("lr: 1\n")
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "params.yaml"], check=True)
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    subprocess.run(["git", *who, "commit", "--quiet", "--message", "before"], check=True)
    Path("params.yaml").write_text("lr: -1\n")
    subprocess.run(["git", "add", "params.yaml"], check=True)  # as DVC does while stages run


def lines_of_a_failure(capsys: pytest.CaptureFixture[str]) -> int:
    assert reported(failing(LockstepError("too low"))) == 1
    return len(capsys.readouterr().err.splitlines())


@pytest.mark.usefixtures("changed")
def test_a_failed_experiment_says_how_to_go_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert reported(lambda: None) == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(ZeroDivisionError):  # a bug leaves params.yaml changed too
        reported(failing(ZeroDivisionError()))
    assert "`git checkout params.yaml`" in capsys.readouterr().err
    assert lines_of_a_failure(capsys) == 2


@pytest.mark.usefixtures("changed")
def test_it_does_not_where_there_is_nothing_to_take_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as elsewhere:  # --temp, --queue: params.yaml is a copy's
        copy = tmp_path / "project/.dvc/tmp/exps/copy"
        shutil.copytree(Path.cwd(), copy)
        elsewhere.setenv("DVC_ROOT", str(tmp_path / "project"))
        elsewhere.chdir(copy)
        assert lines_of_a_failure(capsys) == 1
    with monkeypatch.context() as repro:  # the values are the user's own
        repro.delenv("DVC_EXP_NAME")
        assert lines_of_a_failure(capsys) == 1
    with monkeypatch.context() as launched:  # said once, by the process that launched this one
        launched.setenv("RANK", "0")
        launched.setenv("WORLD_SIZE", "2")
        assert lines_of_a_failure(capsys) == 1
    subprocess.run(["git", "reset", "--hard", "--quiet"], check=True)
    assert lines_of_a_failure(capsys) == 1
