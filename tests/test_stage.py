"""What the person at the keyboard sees when a stage fails."""

from __future__ import annotations

import errno

import pytest

from lockstep.errors import LockstepError
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
